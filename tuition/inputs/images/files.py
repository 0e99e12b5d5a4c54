"""Files and arrays of images -> uint8 arrays (N, C, H, W) of one shape; their ids, statistics and PNG files."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from tuition.errors import UserError
from tuition.inputs.images.tuition_images import Depths, decode, fitted
from tuition.origins import Originals

T = TypeVar("T")
Original = tuple[str, tuple[int, int]]  # content id, (height, width)
CHUNK = 4096  # images converted at a time, so that the wide intermediate stays small
LUMA = (19595, 38470, 7471)  # ITU-R 601-2 in 1/65536, as Pillow computes it


def read(
    names: Sequence[str],
    open_one: Callable[[int], Image.Image],
    channels: int | None,
    resize: int | tuple[int, int] | None,
    where: str,
    threads: int = 1,
    depths: Depths | None = None,
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, str]], Originals | None]:
    """Decode image i by `open_one(i)` for all `names`: (images (n, C, H, W), their positions in names (n,), rejected, originals).

    Grey images become colour where others are colour. What cannot be read is rejected with the reason. `depths` is told the values of
    images of 16 bits. Of originals (n,) is known what they were where `resize` is set; their ids are those of `decode` without it.
    Raises UserError where sizes differ and `resize` does not make them equal.
    """

    def attempt(index: int) -> tuple[np.ndarray, Original | None] | str:
        try:
            with open_one(index) as image:
                whole = decode(image, channels, None, depths)
            if resize is None:
                return whole, None
            size = (resize, resize) if isinstance(resize, int) else resize
            return fitted(whole[None], size)[0], (content_id(whole), whole.shape[1:])
        except Exception as error:  # damaged files make decoders fail in every way; the reason is kept
            return reason(error)

    arrays: list[np.ndarray] = []
    originals: list[Original] = []
    kept: list[int] = []
    rejected: list[tuple[str, str]] = []
    for index, answer in enumerate(in_order(attempt, len(names), threads)):
        if isinstance(answer, str):
            rejected.append((names[index], answer))
            continue
        array, original = answer
        if arrays and array.shape[1:] != arrays[0].shape[1:]:
            first, other = (f"{a.shape[2]}x{a.shape[1]}" for a in (arrays[0], array))
            raise UserError(
                f"{where}: images differ in size: {first} ({names[kept[0]]}), {other} ({names[index]}), …; "
                "set data.resize to the pixels a side that all should have"
            )
        arrays.append(array)
        kept.append(index)
        originals += [original] if original else []
    known = None if resize is None else Originals.of(originals)
    return _stack(arrays), np.array(kept, dtype=np.int64), rejected, known


def in_order(attempt: Callable[[int], T], count: int, threads: int) -> Iterator[T]:
    """attempt(0), attempt(1), …; a bounded number ahead of the reader, since a decoded image is large."""
    if threads == 1:
        yield from map(attempt, range(count))
        return
    with ThreadPoolExecutor(min(threads, os.cpu_count() or 1)) as pool:
        for start in range(0, count, 256):
            yield from pool.map(attempt, range(start, min(start + 256, count)))


def _stack(arrays: list[np.ndarray]) -> np.ndarray:
    """(1 or 3, H, W) each -> (N, C, H, W); each is let go once copied, so that memory holds them only once."""
    if not arrays:
        return np.empty((0, 1, 0, 0), np.uint8)
    out = np.empty((len(arrays), max(a.shape[0] for a in arrays), *arrays[0].shape[1:]), np.uint8)
    for index in range(len(arrays)):
        out[index] = arrays[index]
        arrays[index] = arrays[index][:, :0, :0].copy()
    return out


def reason(error: Exception) -> str:
    """Why an image was rejected, in one line that names no absolute path."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image that Pillow can read"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def convert(images: np.ndarray, channels: int | None, resize: int | None, where: str) -> np.ndarray:
    """uint8 images (N, C, H, W) with the asked channels and side; null keeps what they have.

    Raises UserError where there is no way from C channels to those that are asked.
    """
    if resize is not None:
        images = fitted(images, (resize, resize))
    if channels in (None, images.shape[1]):
        return images
    if channels == 3 and images.shape[1] == 1:
        return np.repeat(images, 3, axis=1)
    if channels == 1 and images.shape[1] == 3:
        return _grey(images)
    raise UserError(
        f"{where}: data.channels is {channels}, but the images have {images.shape[1]} channels; set it to null"
    )


def resized(image: np.ndarray, side: int) -> np.ndarray:
    """A decoded image (C, H, W) -> (C, side, side), as `prepare` makes it smaller."""
    return fitted(image[None], (side, side))[0]


def originals_of(images: np.ndarray, channels: int | None, resize: int | None, where: str) -> Originals | None:
    """What is known of images uint8 (N, C, H, W) that `convert` makes smaller; None where it leaves their size."""
    if resize is None or images.shape[2:] == (resize, resize):
        return None
    height, width = images.shape[2:]
    return Originals.of([(content_id(one), (height, width)) for one in convert(images, channels, None, where)])


def _grey(images: np.ndarray) -> np.ndarray:
    grey = np.empty((len(images), 1, *images.shape[2:]), np.uint8)
    for start in range(0, len(images), CHUNK):
        wide = images[start : start + CHUNK].astype(np.uint32)
        total = sum(weight * wide[:, channel] for channel, weight in enumerate(LUMA))
        grey[start : start + CHUNK, 0] = (total + 0x8000) >> 16
    return grey


def statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel of pixels scaled to 0..1, from exact counts of the 256 values.

    The deviation is at least 1/255, so that images of one shade can be normalised.
    """
    counts = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), CHUNK):
        for channel in range(images.shape[1]):
            counts[channel] += np.bincount(images[start : start + CHUNK, channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    total = counts.sum(axis=1)
    mean = counts @ values / total
    std = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 1 / 255**2))
    return mean.tolist(), std.tolist()


def content_id(image: np.ndarray) -> str:
    """The sha256 (hex) of a sample's content: its shape and its uint8 pixels (C, H, W)."""
    header = f"uint8{tuple(int(n) for n in image.shape)}".encode()
    return hashlib.sha256(header + np.ascontiguousarray(image, dtype=np.uint8).tobytes()).hexdigest()


def png(image: np.ndarray) -> bytes:
    """An image uint8 (1, 3 or 4, H, W) as a PNG: grey, RGB or RGBA."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "PNG")
    return file.getvalue()
