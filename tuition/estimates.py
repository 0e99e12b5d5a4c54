"""What the teacher would say of the samples that were not bought, as the stage `estimate` wrote it: `estimates/<budget>/`."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.files import digest, read_array, read_json
from tuition.workspace import Estimates, Outputs, Workspace

NONE = "none"  # the estimator of who wants no estimates


@dataclass(frozen=True)
class Rest:
    """Of M samples: their places in the pool `positions` (M,) int64, rising; the teacher's estimated `probabilities` (M, C) float16,
    memory-mapped; the chance `confidence` (M,) float32 that the top class of each is the teacher's; and what `meta.json` says."""

    positions: np.ndarray
    probabilities: np.ndarray
    confidence: np.ndarray
    meta: dict[str, Any]


def read(budget: int) -> Rest:
    """The estimates of a budget.

    Raises UserError where there are none, and where they were made from other answers than `outputs/<budget>/` holds now.
    """
    here = Workspace()
    files, outputs = here.estimates(budget), here.outputs(budget)
    meta = read_json(files.meta)
    if meta["estimator"] == NONE:
        raise UserError(f"{files}: no estimates, for estimate.estimator is 'none'; set one, such as auto")
    check_made_from(files, outputs, meta["outputs"])
    return Rest(read_array(files.positions), read_array(files.probabilities), read_array(files.confidence), meta)


def check_made_from(files: Estimates, outputs: Outputs, stated: str) -> None:
    """Raises UserError where the answers in `outputs` have another fingerprint than the one that estimates were made from."""
    if (found := fingerprint(outputs)) != stated:
        raise UserError(
            f"{files}: made from other answers (sha256 {stated[:12]}…) than {outputs} holds now ({found[:12]}…); run `dvc repro`"
        )


def fingerprint(outputs: Outputs) -> str:
    """The sha256 of what estimates are made of: whose answers an export holds, and the answers."""
    answers = [outputs.signal(name) for name in ("logits", "label")]
    return digest(*(read_array(path) for path in (outputs.positions, outputs.ids, *answers) if path.exists()))
