"""A view of a sample: a box of its image, which may reach over the edge, and whether that is mirrored. Knows integers and text only.

In files a view is a row of `views.npy` (n, 5) int32: top, left, height, width of the box in pixels of the image, and flip, 0 or 1; what
lies outside of the image is black. A row of zeros is the sample as it is. In the ledger a view is text: `clean`, or
`crop=<top>,<left>,<height>,<width>;flip=<0|1>`. It is never a seed: whoever reads it makes the same image again, to the bit
(`inputs.images.views.replay`).
"""

import re
from collections.abc import Sequence

import numpy as np

from tuition.errors import UserError

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
