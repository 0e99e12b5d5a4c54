"""The images that views of samples show. A view as numbers and text: `tuition.views`."""

from collections.abc import Sequence

import numpy as np


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
