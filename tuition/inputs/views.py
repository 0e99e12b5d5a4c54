"""A view of a sample: a box of its image, which may reach over the edge, and whether that is mirrored. Knows arrays and text only.

In files a view is a row of `views.npy` (n, 5) int32: top, left, height, width of the box in pixels of the image, and flip, 0 or 1; what
lies outside of the image is black. A row of zeros is the sample as it is. In the ledger a view is text: `clean`, or
`crop=<top>,<left>,<height>,<width>;flip=<0|1>`. It is never a seed: whoever reads it makes the same image again, to the bit.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array

COLUMNS = ("top", "left", "height", "width", "flip")
CLEAN = "clean"
FILE = "views.npy"
_PLACE, _SIZE = r"(0|-?[1-9]\d{0,8})", r"([1-9]\d{0,8})"
_TEXT = re.compile(rf"crop={_PLACE},{_PLACE},{_SIZE},{_SIZE};flip=([01])")


def possible(crop: int, flip: bool) -> int:
    """How many views of the image's own size there are, its box shifted by at most `crop` pixels each way."""
    return (2 * crop + 1) ** 2 * (2 if flip else 1)


def too_many(number: int, crop: int, flip: bool) -> str:
    """What is wrong with asking for so many views of a sample, in words; empty where nothing is."""
    if number <= possible(crop, flip):
        return ""
    return (
        f"teach.views: {number}, but teach.crop: {crop} and teach.flip: {str(flip).lower()} give {possible(crop, flip)} different "
        "views of a sample. Lower teach.views, or raise teach.crop"
    )


def is_view(text: str) -> bool:
    """Whether `text` is that of a view; each view has one text."""
    return text == CLEAN or _TEXT.fullmatch(text) is not None


def to_text(view: Sequence[int] | np.ndarray) -> str:
    """The text of a view (5,). Raises UserError where these numbers are none."""
    top, left, height, width, flip = (int(number) for number in view)
    if not any((top, left, height, width, flip)):
        return CLEAN
    text = f"crop={top},{left},{height},{width};flip={flip}"
    if not is_view(text):
        raise UserError(f"view: found {text!r}, expected a box of at least one pixel and flip 0 or 1, or zeros alone")
    return text


def from_text(text: str) -> np.ndarray:
    """The view (5,) int32 of a text. Raises UserError where it is none."""
    if text == CLEAN:
        return np.zeros(5, dtype=np.int32)
    found = _TEXT.fullmatch(text)
    if found is None:
        raise UserError(f"view: found {text!r}, expected 'clean' or 'crop=<top>,<left>,<height>,<width>;flip=<0|1>'")
    return np.array([int(number) for number in found.groups()], dtype=np.int32)


def replay(image: np.ndarray, view: Sequence[int] | np.ndarray) -> np.ndarray:
    """The view (C, h, w) uint8 of an image (C, H, W) uint8: the box of it, black where that reaches over the edge, then mirrored."""
    top, left, height, width, flip = (int(number) for number in view)
    if not height:
        return image.copy()
    bottom, right = min(top + height, image.shape[1]), min(left + width, image.shape[2])
    first, start = max(top, 0), max(left, 0)
    seen = np.zeros((len(image), height, width), dtype=image.dtype)
    if first < bottom and start < right:
        seen[:, first - top : bottom - top, start - left : right - left] = image[:, first:bottom, start:right]
    return np.ascontiguousarray(seen[:, :, ::-1]) if flip else seen


class Images:
    """The images of rows that were bought, made when they are asked for: `[rows]` gives (n, C, H, W) uint8, in memory of their own.

    `images` (N, C, H, W) is the pool, `positions` (m,) each row's sample there, `views` (m, 5) its view; None: all as they are.
    """

    def __init__(self, images: np.ndarray, positions: np.ndarray, views: np.ndarray | None = None):
        self.images, self.positions, self.views = images, np.asarray(positions), views

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def of_views(self) -> bool:
        """Whether rows have views of their own: an answer then belongs to exactly that image, and to no other crop or flip of it."""
        return self.views is not None

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> np.ndarray:
        chosen = self.images[self.positions[rows]]
        if self.views is None or not len(chosen):
            return np.ascontiguousarray(chosen)
        return np.stack([replay(image, view) for image, view in zip(chosen, self.views[rows], strict=True)])


def bought(images: np.ndarray, folder: Path) -> Images:
    """The images, of the pool `images` (N, C, H, W), that the answers in outputs/<budget>/ belong to, row for row."""
    views = read_array(folder / FILE) if (folder / FILE).exists() else None
    return Images(images, read_array(folder / "positions.npy"), views)
