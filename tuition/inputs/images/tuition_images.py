"""Any image -> uint8 pixels (C, H, W), resized: how `prepare` reads files, and how a registered student reads what it is sent.

MLflow copies this file into a registered student, so that both do the same. It needs numpy and Pillow, and nothing of this project.
"""

import base64
import binascii
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

COLUMN = "image"  # of a table with images
DARK = 1 << 15  # of 65535; an image of 16 bits whose values all lie below becomes dark


class Depths:
    """The values that images of 16 bits hold: an image of 12 bits in a file of 16 becomes almost black, and `warnings` says so."""

    def __init__(self) -> None:
        self._found: list[tuple[int, int]] = []  # the lowest and the highest value of each

    def add(self, low: int, high: int) -> None:
        self._found.append((low, high))

    def warnings(self) -> list[str]:
        """One that names the range found, where more than half of them use less than half of theirs; else none."""
        dark = [one for one in self._found if one[1] < DARK]
        if 2 * len(dark) <= len(self._found):
            return []
        low, high = min(one[0] for one in dark), max(one[1] for one in dark)
        return [
            f"{len(dark)} of {len(self._found)} images of 16 bits hold values from {low} to {high} ({high.bit_length()} bits), where "
            f"65535 is white: they become dark, {high // 257} of 255 at most. Where {high} is meant to be white, scale them to 0..65535"
        ]


def decode(
    image: Image.Image, channels: int | None, resize: int | tuple[int, int] | None, depths: Depths | None = None
) -> np.ndarray:
    """One Pillow image -> uint8 (1 or 3, H, W), upright as its EXIF data says.

    Transparent pixels are laid on white, as viewers show them; 16-bit values are scaled to 8 bits; a palette is colour.
    `resize` is pixels a side, or (width, height). `depths` is told the values of an image of 16 bits. Raises ValueError for pixels that
    have no defined range (float, 32-bit).
    """
    depths = depths or Depths()
    deep = any(";16" in str(tile) for tile in getattr(image, "tile", ()))  # told before the pixels are read
    image = ImageOps.exif_transpose(image)
    if deep and image.mode in ("RGB", "RGBA", "LA"):  # Pillow keeps the upper 8 bits of each channel
        bands = np.asarray(image)[..., : 1 if image.mode == "LA" else 3]
        depths.add(256 * int(bands.min(initial=255)), 256 * int(bands.max(initial=0)) + 255)
    image = _flat(image, depths)
    if channels is not None:
        image = image.convert("L" if channels == 1 else "RGB")
    if resize is not None:
        image = resized(image, (resize, resize) if isinstance(resize, int) else resize)
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _flat(image: Image.Image, depths: Depths) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range; save as 8 or 16 bit")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.size and (wide.min() < 0 or wide.max() > 65535):
            raise ValueError("pixels outside the range of 16 bits")
        if wide.size:
            depths.add(int(wide.min()), int(wide.max()))
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if grey else "RGB")


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The image at (width, height); its sides are stretched where their ratio is another."""
    return image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)


def fitted(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 images (N, C, h, w) -> (N, C, height, width) at `size` (width, height), to the bit as `resized` makes them."""
    if images.shape[:1:-1] == size:
        return images
    out = np.empty((*images.shape[:2], size[1], size[0]), np.uint8)
    for row, image in enumerate(images):
        for channel, plane in enumerate(image):
            out[row, channel] = np.asarray(resized(Image.fromarray(plane), size))
    return out


def stored(given: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """What a client sends -> uint8 images (n, C, H, W) of the student's `shape` (C, H, W), as `prepare` would have stored them.

    `given` is an array (n, C, h, w) or (n, h, w, C) of any size, whole numbers 0..255 or floats 0..1; or a list of images, each such an
    array without n, the bytes of an image file, or those in base64. Raises ValueError for what is none of these, or may be two of them,
    with what is valid; warns of whole numbers of which none is above 1.
    """
    if isinstance(given, bytes | bytearray | str):
        given = [given]
    array = _numbers(given)
    if array is not None:
        return _batch(array, shape)
    images = np.empty((len(given), *shape), np.uint8)
    for place, one in enumerate(given):
        try:
            images[place] = _one(one, shape)
        except Exception as error:  # damaged files make decoders fail in every way
            raise ValueError(f"image {place}: {error}") from error
    return images


def numbers(samples: np.ndarray, facts: Any) -> np.ndarray:
    """What the graph takes: pixels as they are."""
    return samples


def _numbers(given: Any) -> np.ndarray | None:
    """What is given as one array of numbers; None where it holds files, or images of several sizes."""
    if isinstance(given, np.ndarray) and given.dtype.kind not in "OSU":
        return given
    try:
        array = np.array(list(given))
    except ValueError:  # images of several sizes
        return None
    return array if array.dtype.kind in "buif" and array.ndim > 1 else None


def _one(given: Any, shape: tuple[int, int, int]) -> np.ndarray:
    """One image of a list -> (C, H, W)."""
    channels, height, width = shape
    if isinstance(given, str):
        given = _from_base64(given)
    if isinstance(given, bytes | bytearray):
        if channels not in (1, 3):
            raise ValueError(f"found a file; the student takes {channels} channels, which no file has: send numbers")
        with Image.open(io.BytesIO(given)) as image:
            return decode(image, channels, (width, height))
    return _batch(np.asarray(given)[None], shape)[0]


def _from_base64(text: str) -> bytes:
    """The bytes of a file in base64, which may be a data URL."""
    try:
        return base64.b64decode(text.rpartition(",")[2] if text.startswith("data:") else text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"text that is not base64 ({error}); expected the bytes of an image file in base64") from None


def _batch(images: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Numbers (n, C, h, w) or (n, h, w, C) -> uint8 (n, C, H, W)."""
    if _channels_last(images.shape, shape):
        images = np.moveaxis(images, -1, 1)
    return np.ascontiguousarray(fitted(_pixels(images), (shape[2], shape[1])))


def _channels_last(found: Sequence[int], shape: tuple[int, int, int]) -> bool:
    """Whether the channels of images of the shape `found` are its last axis, by their number; the student's own shape is no riddle."""
    channels, height, width = shape
    valid = f"(n, {channels}, height, width) or (n, height, width, {channels})"
    if len(found) != 4 or 0 in found[1:]:
        raise ValueError(f"found numbers of shape {tuple(found)}, expected images of shape {valid}")
    if tuple(found[1:]) in ((channels, height, width), (height, width, channels)):
        return tuple(found[1:]) != (channels, height, width)
    first, last = found[1] == channels, found[3] == channels
    if first and last:
        raise ValueError(
            f"found images of shape {tuple(found)}: channels may be the first axis of an image or its last, since both are {channels}; "
            f"resize them to (n, {channels}, {height}, {width}), or send files"
        )
    if not first and not last:
        raise ValueError(
            f"found images of shape {tuple(found)}, expected {valid}: the student takes {channels} channels"
        )
    return last


def _pixels(values: np.ndarray) -> np.ndarray:
    """Numbers -> uint8 pixels, where that changes none: 12 bits would wrap around as uint8, and 0..1 become black."""
    if values.dtype.kind not in "buif":
        raise ValueError(f"found values of type {values.dtype}, expected numbers, or the bytes of image files")
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.rint(values * np.float64(255)).astype(np.uint8)
    whole = low >= 0 and high <= 255 and (values.dtype.kind in "bui" or np.array_equal(values, np.trunc(values)))
    if not whole:
        raise ValueError(f"found {values.dtype} from {low} to {high}; expected whole numbers 0..255, or floats 0..1")
    if values.size and high <= 1:
        warnings.warn("no pixel is brighter than 1, where 255 is white; were they scaled to 0..1?", stacklevel=2)
    return values.astype(np.uint8)
