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


def read(budget: int, known: str | None = None) -> Rest:
    """The estimates of a budget; `known` is the sha256 by which they were known before (`identity`).

    Raises UserError where there are none, where they are others than those that were known, and where they were made from other answers
    than `outputs/<budget>/` holds now.
    """
    here = Workspace()
    files, outputs = here.estimates(budget), here.outputs(budget)
    meta = read_json(files.meta)
    if meta["estimator"] == NONE:
        raise UserError(f"{files}: no estimates, for estimate.estimator is 'none'; set one, such as auto")
    check_made_from(files, outputs, meta["outputs"])
    if known not in (None, meta.get("probabilities")):
        raise UserError(
            f"{files}: other estimates than those that comparisons/{budget} names (sha256 {str(known)[:12]}…); run `dvc repro`"
        )
    return Rest(read_array(files.positions), read_array(files.probabilities), read_array(files.confidence), meta)


def identity(budget: int) -> str | None:
    """The sha256 of the estimates of a budget, which says for whom they changed; None where none were made."""
    return read_json(Workspace().estimates(budget).meta).get("probabilities")


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
