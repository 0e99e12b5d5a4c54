"""A good teacher of the digits behind a function that keeps the provider's bill: a key a line for every image that it is given.

BILL names the file, TEACHER the folder of the trained network (as the pretrain stage writes it).
"""

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.counting_teacher import _note


def answer(images: np.ndarray, keys: list[str]) -> np.ndarray:
    """Images (B, 1, 28, 28) uint8 → logits (B, 10)."""
    _note(os.environ["BILL"], keys)
    return _network().answer(images)["logits"]


answer.signals = ("logits",)


@cache
def _network() -> Any:
    from tuition.files import read_json
    from tuition.params.teacher import teacher_settings
    from tuition.teachers.checkpoint import load_checkpoint

    folder = Path(os.environ["TEACHER"])
    made = read_json(folder / "meta.json")
    facts = {"classes": list(range(10)), "channels": 1, "height": 28, "width": 28}
    settings = teacher_settings(arch=made["arch"], weights=str(folder), signals=["logits"])
    return load_checkpoint(settings, facts)
