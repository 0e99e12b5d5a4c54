"""Budgets of views from the paid teacher, and what their images are by another way than the stage's own."""

import numpy as np

from support import PAID, stage, write_params
from tuition.files import read_array
from tuition.views import to_text

THREE = {**PAID, "teach.views": 3, "study.budgets": [30]}


def padded(image, view):
    """The view by another way: pad far enough on every side, cut, mirror."""
    top, left, height, width, flip = view
    cut = np.pad(image, ((0, 0), (100, 100), (100, 100)))[
        :, 100 + top : 100 + top + height, 100 + left : 100 + left + width
    ]
    return cut[:, :, ::-1] if flip else cut


def teach(folder, budget, **changes):
    write_params(folder, {**THREE, "study.budgets": [budget], **{k.replace("__", "."): v for k, v in changes.items()}})
    return stage("teach", budget, cwd=folder)


def bought(folder, budget):
    """(images by np.pad, texts, ids) of the rows of outputs/<budget>/."""
    out, images = folder / f"outputs/{budget}", np.array(read_array(folder / "data/train/images.npy"))
    views, positions = read_array(out / "views.npy"), read_array(out / "positions.npy")
    seen = [padded(images[i], view) if view[2] else images[i] for i, view in zip(positions, views, strict=True)]
    return np.stack(seen), [to_text(view) for view in views], [id.decode() for id in read_array(out / "ids.npy")]
