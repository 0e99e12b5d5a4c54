"""The images that views of samples show, and those that bought answers belong to. A view as numbers and text: `tuition.views`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tuition.files import read_array
from tuition.views import FILE


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
