"""A cell, read from the study's files, as what MLflow keeps of a run. Plain values: no MLflow here."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tuition.files import digest, file_digest, read_array, read_json
from tuition.params import Params, comparison_set, identity
from tuition.tables import read_rows
from tuition.workspace import Workspace, cell_name

Points = dict[tuple[str, int], float]  # (metric, step) -> value


class Dataset(NamedTuple):
    name: str
    digest: str
    source: str
    context: str


class Record(NamedTuple):
    """What a run of MLflow says of a cell."""

    name: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float]
    curves: Points
    datasets: list[Dataset]
    digest: str


def study_params(params: Params) -> dict[str, str]:
    """The parameters that all cells of a study share, flattened to `section.key`."""
    return flatten(identity(params))


def study_digest(params: Params) -> str:
    """The identity of a study: sha256 of what all its cells share. Adding a seed or editing one method keeps it."""
    return sha256(study_params(params))


def cell_params(params: Params, budget: int, method: str, seed: int) -> dict[str, str]:
    """The parameters that one cell uses, flattened to `section.key`."""
    used: dict[str, Any] = {"cell": {"budget": budget, "method": method, "seed": seed}}
    used |= params.model_dump(include={"student", "train"})
    used["methods"] = {
        method.replace("+", "-plus-"): params.methods.get(method) or {}
    }  # MLflow takes no + in a parameter's name
    if found := comparison_set(params, method):
        used["compare"] = found[1].model_dump()
    flat = flatten(used)
    return {key.removeprefix("cell."): value for key, value in flat.items()}


def read_cell(params: Params, budget: int, method: str, seed: int, hashes: Mapping[str, str]) -> Record | None:
    """Everything that the files of the current directory say of a cell; None where it has no student or no results yet.

    `hashes` are DVC's by path. Raises UserError where a file is damaged.
    """
    name = cell_name(budget, method, seed)
    here = Workspace()
    student, results, outputs = here.student(name), here.results(name), here.outputs(budget)
    if not student.meta.is_file() or not results.metrics.is_file():
        return None
    settings = cell_params(params, budget, method, seed)
    datasets = _datasets(budget)
    files = [student.weights, student.description, student.history, student.meta]
    files += [results.metrics, results.logits, results.reliability, results.per_class]
    teacher, spend = read_json(outputs.meta)["teacher"], read_json(outputs.spend)
    identity = [name, settings, datasets, teacher, spend, [file_digest(f) for f in files]]
    speed = here.speed(name)
    timings = read_json(speed) if speed.is_file() else {}  # no part of the identity: the same student, timed again
    paths = {"student": str(student), "logits": str(results.logits), "outputs": str(outputs), "data": str(here.data)}
    figures = read_json(results.metrics)
    tags = {
        **({"against": str(figures["against"])} if "against" in figures else {}),
        "teacher": str(teacher.get("name")),
        "teacher.fingerprint": str(teacher.get("fingerprint")),
        "calls": str(spend["calls"]),
        "cost": str(spend["cost"]),
        "weights_sha256": file_digest(student.weights) or "",
        **{f"speed.{key}": value for key, value in timings.items() if isinstance(value, str)},
        **{f"digest.{d.name}": d.digest for d in datasets},
        **{f"dvc.{what}": hashes[path] for what, path in paths.items() if path in hashes},
    }
    metrics = numbers(figures)
    metrics |= {"calls": float(spend["calls"]), "cost": float(spend["cost"])}
    metrics |= {f"speed/{key}": value for key, value in numbers(timings).items()}
    return Record(name, settings, tags, metrics, curves(read_rows(student.history)), datasets, sha256(identity))


def curves(rows: Iterable[Mapping[str, Any]]) -> Points:
    """The rows of a history as metrics `curve/<column>`; what is no number is left out."""
    points: Points = {}
    for row in rows:
        try:
            step = int(float(row["step"]))
        except (KeyError, TypeError, ValueError):
            continue
        for key, text in row.items():
            value = _number(text)
            if key != "step" and value is not None:
                points[f"curve/{key}", step] = value
    return points


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The entries that are numbers (true and false are none), as floats."""
    found = {key: _number(value) for key, value in values.items() if not isinstance(value, bool | str)}
    return {key: value for key, value in found.items() if value is not None}


def _number(value: object) -> float | None:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested sections as `section.key` → text."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def sha256(value: object) -> str:
    """The sha256 (hex) of a value's JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _datasets(budget: int) -> list[Dataset]:
    """The inputs of a cell with digests of their content."""
    here = Workspace()
    outputs = here.outputs(budget)
    arrays = sorted(outputs.path.rglob("*.npy"))
    return [
        Dataset("train", pool_digest("train"), str(here.split("train")), "training"),
        Dataset("outputs", digest(*(read_array(path) for path in arrays)), str(outputs), "teacher outputs"),
        Dataset("test", pool_digest("test"), str(here.split("test")), "testing"),
    ]


def pool_digest(split: str) -> str:
    """The digest of a split: what its meta.json says, else of its ids and labels (an id is the digest of a sample)."""
    files = Workspace().split(split)
    stated = read_json(files.meta).get("digest")
    return str(stated) if stated else digest(read_array(files.ids), read_array(files.labels))
