"""What tests of purchase strategies share: a pool of real digits, their order, and a student to guide it."""

import numpy as np
import torch

from support import digits
from tuition.inputs import images as inputs
from tuition.inputs.images.files import content_id
from tuition.models import build
from tuition.selection.order import purchase_order
from tuition.training import student as student_files

NAMES = [str(i) for i in range(10)]


def pool(count, channels=1):
    """(images (count, C, 28, 28), ids) of distinct real digits, of three shades where there are three channels."""
    images, _ = digits(count)
    images = np.stack([images >> shift for shift in range(channels)], axis=1)
    return images, np.array([content_id(image) for image in images], dtype="S64")


IMAGES, IDS = pool(200)


def order(strategy, limit=None, guide=None, seed=0, images=IMAGES, ids=IDS, classes=NAMES):
    labels = np.zeros(len(ids), dtype=np.int64)
    guide = None if guide is None else str(guide)
    return purchase_order(
        strategy, ids, labels, seed, inputs=inputs, samples=images, classes=classes, limit=limit, guide=guide
    )


def write_student(folder, seed=0, **changes):
    """An untrained student for the digits, written as the train stage writes them."""
    about = {"arch": "resnet8", "channels": 1, "height": 28, "width": 28, "classes": 10, "class_names": NAMES}
    about |= {"mean": [0.1], "std": [0.3], "taps": [], **changes}
    torch.manual_seed(seed)
    model = build(
        "resnet8", channels=about["channels"], classes=about["classes"], size=(about["height"], about["width"])
    )
    student_files.write_student(folder, model.state_dict(), {}, [{"step": 1}], about)
    return folder
