"""The present champion, asked which samples it is unsure of."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.inputs.protocol import Inputs, Samples
from tuition.registry import registry
from tuition.registry.takes import what_it_takes
from tuition.tracking import address, store

BATCH = 500

Champion = tuple[str, Any]  # tracking URI, MLflow's model version


def find(name: str) -> Champion | None:
    """(tracking URI, model version) of `models:/<name>@champion`; None where there is none. Makes no store."""
    if address.store_missing():
        return None
    opened = store.connect_store(name)
    version = registry.champion_of(opened, name)
    return None if version is None else (opened.uri, version)


def margins(uri: str, name: str, inputs: Inputs, samples: Samples, classes: list[str]) -> np.ndarray:
    """(n,) float64 in 0..1: how far the champion's largest probability is above its second, for samples (n, …) as they are stored.

    Raises UserError where it takes other samples, or tells other classes, than the data has.
    """
    import mlflow

    mlflow.set_tracking_uri(uri)
    where = f"models:/{name}@champion"
    model = mlflow.pyfunc.load_model(where)
    _check_fit(where, model.metadata, inputs, samples.shape[1:], classes)
    return np.concatenate([margin(np.asarray(model.predict(batch))) for batch in _batches(samples)])


def margin(probabilities: np.ndarray) -> np.ndarray:
    """(n, classes) -> (n,) float64: the largest less the second largest. Raises UserError where one is not finite."""
    if not np.isfinite(probabilities).all():
        raise UserError("the champion's answers are not finite: its training diverged; `tuition demote` it")
    top = np.partition(probabilities.astype(np.float64), -2, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


def _batches(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), BATCH):
        yield np.ascontiguousarray(samples[start : start + BATCH])


def _check_fit(where: str, metadata: Any, kind: Inputs, shape: tuple[int, ...], classes: list[str]) -> None:
    takes = what_it_takes(metadata)
    if takes is None:  # somebody else's: it says nothing that the data could be held against
        return
    if takes.shape != tuple(shape):
        raise UserError(
            f"{where}: takes {kind.NAME} {takes.shape} ({kind.AXES}), but the data has {tuple(shape)}; name a registry of its own for "
            "this data (register.name), or refresh.strategy: random"
        )
    if takes.classes != list(classes):
        raise UserError(
            f"{where}: tells {len(takes.classes)} classes ({', '.join(takes.classes[:6])}), but the data has "
            f"{len(classes)} ({', '.join(classes[:6])}); name a registry of its own for this data (register.name), "
            "or refresh.strategy: random"
        )
