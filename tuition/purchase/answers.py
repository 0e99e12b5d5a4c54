"""Whether an answer can be used: checked per call, before anything is owned."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from tuition.ledger.calls import Answer
from tuition.signals import stored_type
from tuition.targets import tokens
from tuition.targets.classes import look_like_probabilities


def split(
    given: dict[str, Any],
    count: int,
    signals: Sequence[str],
    classes: int,
    shapes: dict[str, tuple[int, ...]],
    scores: str | None = None,
    partial: bool = False,
) -> list[Answer]:
    """One Answer per call from a batch's answer `given` ({signal: (B, …)}).

    A batch that cannot be divided into its calls (wrong keys, wrong number of rows, not numbers) is malformed as a whole;
    a row with NaN or infinity is malformed alone. `shapes` holds each signal's shape a row, and learns it from the first answer:
    rows of different shapes could not be exported together. Where `scores` is "logits" (the first few answers), logits that are
    probabilities are malformed. Where it is `partial`, logits may be NaN but for one a row: unknown.
    """
    try:
        arrays = {signal: np.asarray(given[signal]) for signal in signals if signal in given}
        reason = _batch_fault(arrays, given, count, signals, classes, shapes)
        if not reason and scores == "logits" and "logits" in arrays and _are_probabilities(arrays["logits"]):
            reason = "logits: every row holds probabilities (none negative, sum 1); set teacher.scores: probabilities"
    except Exception as error:  # whatever the teacher's object does when asked for numbers
        arrays, reason = {}, f"not an array of numbers: {type(error).__name__}: {error}"
    if reason:
        return unusable(reason, _raw(given), count)
    with np.errstate(all="ignore"):  # what overflows is found below, as infinity
        stored = {signal: values.astype(stored_type(signal)) for signal, values in arrays.items()}
        wide = {
            signal: stored[signal] if stored[signal].dtype == np.float32 else values.astype(np.float32)
            for signal, values in arrays.items()
        }
    whole = _finite(wide)
    fits = {name: whole[name] if one is wide[name] else _finite_rows(one) for name, one in stored.items()}
    if partial and "logits" in arrays:
        whole["logits"] = fits["logits"] = _some_known(wide["logits"])
    rows = []
    for i in range(count):
        if reason := _row_fault(arrays, whole, i, classes):
            raw = _raw({signal: values[i] for signal, values in arrays.items()})
            rows.append(Answer({}, reason, raw))
        else:  # what a half cannot hold is paid for too: it is kept as it is
            rows.append(Answer({name: np.asarray((stored if fits[name][i] else wide)[name][i]) for name in arrays}))
    return rows


def _are_probabilities(logits: np.ndarray) -> bool:
    """Whether scores that should be logits are probabilities; of one answer with two classes that may be an accident."""
    return logits.size > 2 and look_like_probabilities(logits)


def unusable(reason: str, raw: bytes, count: int) -> list[Answer]:
    """The answers to `count` calls whose batch as a whole is malformed."""
    return [Answer({}, reason, raw)] + [Answer({}, reason, b"as the first of its batch")] * (count - 1)


def _finite(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: _finite_rows(one) for name, one in arrays.items()}


def _finite_rows(values: np.ndarray) -> np.ndarray:
    """Which rows (B,) of values (B, …) hold finite numbers alone."""
    return np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))


def _some_known(logits: np.ndarray) -> np.ndarray:
    """Which rows (B,) of logits (B, C) have a finite one, and none that is infinite."""
    return np.asarray(np.isfinite(logits).any(axis=1) & ~np.isinf(logits).any(axis=1))


def _row_fault(arrays: dict[str, np.ndarray], whole: dict[str, np.ndarray], row: int, classes: int) -> str:
    """Why a row cannot be used; empty where it can."""
    if bad := [signal for signal in arrays if not whole[signal][row]]:
        return f"NaN or infinity in {', '.join(bad)}"
    if set(tokens.SIGNALS) <= set(arrays) and (why := tokens.fault(*(arrays[name][row] for name in tokens.SIGNALS))):
        return why
    if "label" in arrays and arrays["label"][row] not in range(classes):
        return f"label: {arrays['label'][row]} is none of the data's {classes} classes"
    return ""


def _batch_fault(
    arrays: dict[str, np.ndarray],
    given: dict[str, Any],
    count: int,
    signals: Sequence[str],
    classes: int,
    shapes: dict[str, tuple[int, ...]],
) -> str | None:
    for signal in signals:
        if signal not in arrays:
            return f"no {signal!r} in the answer, only {', '.join(map(repr, given)) or 'nothing'}"
        found = arrays[signal]
        if found.dtype.kind not in "fiub":
            return f"{signal}: found {found.dtype}, expected numbers"
        if found.ndim < 1 or len(found) != count:
            return f"{signal}: found shape {found.shape} for {count} images"
    if "logits" in arrays and arrays["logits"].shape[1:] != (classes,):
        return f"logits: found shape {arrays['logits'].shape} for {count} images and the data's {classes} classes"
    if "label" in arrays and (arrays["label"].ndim != 1 or arrays["label"].dtype.kind == "b"):
        found = arrays["label"]
        return f"label: found {found.dtype} with shape {found.shape}, expected the index of a class for each of {count} samples"
    for signal, values in arrays.items():
        if shapes.setdefault(signal, values.shape[1:]) != values.shape[1:]:
            return f"{signal}: found shape {values.shape[1:]} a sample, but the first answer had {shapes[signal]}"
    return None


def _raw(value: object) -> bytes:
    """The answer as it came, for inspection: npz where it is arrays, else its text."""
    if isinstance(value, dict) and all(isinstance(v, np.ndarray) and v.dtype.kind in "fiub" for v in value.values()):
        file = io.BytesIO()
        np.savez_compressed(file, **value)
        return file.getvalue()
    try:
        return repr(value)[:100_000].encode()
    except Exception as error:
        return f"{type(value).__name__}, whose text raises {type(error).__name__}".encode()
