"""What images have and a text has not: a size, views, mixtures. Each of these raises a UserError that names the key."""

from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.inputs.protocol import Facts, Preprocessing

NO_VIEWS = "teach.views: a text has no views; set 1, or leave it out"


def view_size(facts: Facts) -> tuple[int, int]:
    raise UserError(NO_VIEWS)


def replay(sample: str, view: np.ndarray) -> str:
    raise UserError(NO_VIEWS)


def mix(one: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    raise UserError(
        "teach.mixed: two texts cannot be mixed into one that a teacher could be asked; set false, or leave it out"
    )


def resized(sample: str, side: int) -> str:
    raise UserError(f"teacher.resize: found {side}; a text has no size in pixels: leave it out")


def check_sent(settings: Preprocessing, facts: Facts) -> None:
    """Every text can be sent as it is."""


def as_sent(settings: Preprocessing, facts: Facts) -> dict[str, Any]:
    return {}


def sent(samples: np.ndarray, settings: Preprocessing) -> np.ndarray:
    return samples


def local_facts(settings: Preprocessing, made: Facts, facts: Facts) -> dict[str, Any]:
    return {}
