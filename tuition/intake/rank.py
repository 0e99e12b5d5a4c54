"""Which new samples first. None of the strategies asks the teacher."""

import numpy as np

from tuition.inputs.protocol import Inputs, Samples
from tuition.intake import champion
from tuition.params import Params
from tuition.selection.order import purchase_order


def rank(
    params: Params,
    strategy: str,
    inputs: Inputs,
    samples: Samples,
    labels: np.ndarray,
    ids: np.ndarray,
    classes: list[str],
    left: int,
    present: champion.Champion | None,
) -> tuple[list[str], str]:
    """The content ids of the candidates, best first, and in words by what; `present` is the champion (`champion.find`).

    samples (n, …), labels (n,) and ids (n,) S64 of the candidates alone: `balanced` deals their classes evenly, `kcenter` covers
    them. Where all fit into the `left` calls, nothing is ranked. Raises UserError for a champion of other samples or classes.
    """
    shuffled = purchase_order("random", ids, labels, params.teach.seed)
    if len(shuffled) <= left:
        return _named(ids, shuffled), "all: they fit into the allowance"
    if strategy == "balanced" and not (labels >= 0).any():
        return _named(ids, shuffled), "random: they have no labels that could be balanced"
    if strategy == "uncertain":
        if present is None:
            return _named(ids, shuffled), f"random: models:/{params.registry.name}@champion is not there yet"
        uri, version = present
        unsure = champion.margins(uri, params.registry.name, inputs, samples[shuffled], classes)
        order = shuffled[np.argsort(unsure, kind="stable")]
        return _named(ids, order), f"uncertain: the margin of the champion, version {version.version}"
    order = purchase_order(
        strategy, ids, labels, params.teach.seed, inputs=inputs, samples=samples, classes=classes, limit=left
    )
    return _named(ids, order), strategy


def _named(ids: np.ndarray, order: np.ndarray) -> list[str]:
    return [ids[row].decode() for row in order]
