"""Teachers, one file a kind, behind one small protocol.

A teacher offers `description` (a dict: what the fingerprint is computed from), `signals`, the arrays that an answer holds, and the
`families` they make up (`tuition/signals.py`), `classes` (None where it cannot say), `idempotent`, `answer(images, keys) ->
{signal: array}` for images (B, C, H, W) uint8 and one idempotency key each, and `constants()`: what it has one of. It may raise
`Refused` for a batch of which surely nothing was processed. One that is asked over the network is a `client.HttpTeacher`, whose
`ask` is the same with several requests under way.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np

from tuition.errors import unknown
from tuition.teachers.replies import Refused

__all__ = ["KINDS", "Refused", "Teacher", "fingerprint", "load"]

KINDS = {  # kind: the module that loads it
    "checkpoint": "tuition.teachers.checkpoint",
    "python": "tuition.teachers.function",
    "experts": "tuition.teachers.experts",
    "mlflow": "tuition.teachers.formats.mlflow",
    "oip": "tuition.teachers.formats.oip",
    "openai": "tuition.teachers.formats.openai",
    "http": "tuition.teachers.formats.custom",
}


class Teacher(Protocol):
    description: dict[str, Any]
    signals: tuple[str, ...]
    families: tuple[str, ...]
    classes: int | None
    idempotent: bool

    def answer(self, images: np.ndarray, keys: Sequence[str]) -> dict[str, np.ndarray]: ...

    def constants(self) -> dict[str, np.ndarray]: ...


def load(settings: Any, data: dict[str, Any]) -> Teacher:
    """The teacher of `settings` (`params.Teacher`) for data with the facts `data` (channels, height, width, classes, mean, std)."""
    if settings.kind not in KINDS:
        raise unknown("teacher.kind", settings.kind, KINDS)
    return import_module(KINDS[settings.kind]).load(settings, data)


def fingerprint(description: dict[str, Any]) -> str:
    """The sha256 (hex) of what makes a teacher's answers what they are."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
