"""What every student's meta.json says of its cell, whatever it learns."""

from typing import Any

from tuition.params import Params, Training
from tuition.training.loop import Progress, Row


def cell_meta(
    params: Params, budget: int, name: str, seed: int, settings: Training, groups: dict[str, Any], done: Progress
) -> dict[str, Any]:
    """Its name, settings and comparisons, and when it was best."""
    return {
        "budget": budget,
        "method": name,
        "seed": seed,
        "comparisons": groups,
        "settings": {
            "train": settings.model_dump(),
            "student": params.student.model_dump(),
            name: params.methods.get(name) or {},
        },
        "best_step": done.best_step,
    }


def best_row(done: Progress) -> Row:
    """The validation at which the student that is kept was the best."""
    return done.history[[row["step"] for row in done.history].index(done.best_step)]
