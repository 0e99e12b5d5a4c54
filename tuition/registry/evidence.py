"""What a version's run keeps of its student: test figures that a later one is held against, its files, and what made it."""

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, read_json, write_json
from tuition.tables import read_rows
from tuition.targets.truth import truth_file
from tuition.tracking.store import Store
from tuition.workspace import Results, Workspace, budget_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

T = TypeVar("T")
BY_QUERY = {
    "relevance": "ndcg10",
    "references": "recall",
}  # by what figures are held against: a column of per_class.csv
CALLS = "calls.json"  # in lineage/: which calls made this student, and at what cost


class TeacherName(TypedDict):
    name: str | None
    fingerprint: str | None


class OutputsPlace(TypedDict, total=False):
    """Where a budget's answers are: their folder, DVC's hash of it, and digests of its arrays and of its ids."""

    path: str
    dvc: str | None
    digest: str | None
    ids: str | None


class Purchase(TypedDict, total=False):
    """Which calls made a student, at what cost: lineage/calls.json. `total_…` with all that was bought beside them."""

    teacher: TeacherName
    budget: int | None
    calls: int | None
    cost: float | None
    usable: int | None
    total_calls: int | None
    total_cost: float | None
    beside: dict[str, Any]
    outputs: OutputsPlace


@dataclass
class Evidence:
    """A version's test: logits (N, C) and labels (N,), None where they were not kept, and figures."""

    logits: np.ndarray | None = None
    labels: np.ndarray | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    recalls: dict[str, float] = field(default_factory=dict)  # by class
    latency: dict[str, Any] = field(default_factory=dict)
    queries: np.ndarray | None = (
        None  # (Q,): of retrieval nDCG@10 by test query, of language models token accuracy by text
    )


def keep_evidence(store: Store, run: str, cell: str, purchase: Purchase) -> None:
    """Log the folders test/, student/ and lineage/ to the run of `cell`; `purchase` becomes lineage/calls.json.

    What is there already stays: the run belongs to one student, and so do its files.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for folder, sources in _folders(cell, str(purchase["budget"])).items():
            there = {Path(entry.path).name for entry in store.client.list_artifacts(run, folder)}
            place = Path(scratch, folder)
            place.mkdir()
            for name, source in sources.items():
                if name not in there and source.is_file():
                    shutil.copyfile(source, place / name)
            if folder == "lineage" and CALLS not in there:
                write_json(place / CALLS, purchase)
            if any(place.iterdir()):
                store.client.log_artifacts(run, str(place), folder)


def _folders(cell: str, budget: str) -> dict[str, dict[str, Path]]:
    """What is kept, by folder and by name within."""
    here = Workspace()
    results, student, outputs = here.results(cell), here.student(cell), here.outputs(budget)
    kept = {
        "test": [truth_file(here, "test", budget), results.logits, results.metrics, results.per_class, results.latency],
        "student": [student.weights, student.description, student.meta],
        "lineage": [
            here.params,
            here.lockfile,
            here.pipeline,
            here.additions_dvc,
            outputs.ids,
            outputs.views,
            outputs.spend,
        ],
    }
    return {folder: {path.name: path for path in paths} for folder, paths in kept.items()}


def fetch_artifacts(store: Store, version: "ModelVersion", folder: str, into: Path) -> Path | None:
    """Download one of the folders of a version's run; None where its run or its files were deleted, or never kept."""
    from mlflow.exceptions import MlflowException

    into.mkdir(parents=True, exist_ok=True)
    try:
        place = Path(store.client.download_artifacts(version.run_id or "", folder, str(into)))
    except (MlflowException, OSError):
        return None
    return place if place.is_dir() else None


def read_evidence(store: Store, version: "ModelVersion") -> Evidence:
    """What was kept of a version's test."""
    with tempfile.TemporaryDirectory() as scratch:
        place = fetch_artifacts(store, version, "test", Path(scratch))
        if place is None:
            return Evidence()
        test = Results(place)
        metrics: dict[str, Any] = _whole(read_json, test.metrics, {})
        if (column := BY_QUERY.get(metrics.get("against", ""))) is not None:
            return Evidence(
                metrics=metrics,
                latency=_whole(read_json, test.latency, {}),
                queries=_whole(lambda path: _column(path, column), test.per_class, None),
            )
        return Evidence(
            _whole(_array, test.logits, None),
            _whole(_array, place / Workspace().split("test").labels.name, None),
            metrics,
            _whole(_recalls, test.per_class, {}),
            _whole(read_json, test.latency, {}),
        )


def _whole(read: Callable[[Path], T], path: Path, otherwise: T) -> T:
    """What is in a file; `otherwise` where it was not kept, or was damaged since."""
    try:
        return read(path)
    except (UserError, OSError, ValueError, KeyError):
        return otherwise


def _array(path: Path) -> np.ndarray | None:
    return np.array(read_array(path))


def _column(path: Path, name: str) -> np.ndarray | None:
    return np.array([float(row[name]) for row in read_rows(path)])


def _recalls(path: Path) -> dict[str, float]:
    recalls = {row["label"]: float(row["recall"]) for row in read_rows(path)}
    return {label: recall for label, recall in recalls.items() if not math.isnan(recall)}


def read_purchase(store: Store, version: "ModelVersion") -> Purchase:
    """Which calls made a version's student, at what cost: lineage/calls.json, or what the tags of an older version say."""
    with tempfile.TemporaryDirectory() as scratch:
        place = fetch_artifacts(store, version, "lineage", Path(scratch))
        if place is not None and (place / CALLS).is_file():
            return cast(Purchase, read_json(place / CALLS))
    return purchase_of_tags(version.tags)


def purchase_of_tags(tags: Mapping[str, str]) -> Purchase:
    """The part of it that stands in a version's tags: no file is read."""
    cell = tags.get("cell", "")
    budget = budget_of(cell)
    return {
        "teacher": {"name": tags.get("teacher"), "fingerprint": tags.get("teacher_fingerprint")},
        "budget": int(budget) if budget.isdigit() else None,
        "calls": int(tags["calls"]) if "calls" in tags else None,
        "cost": float(tags["cost"]) if "cost" in tags else None,
        "total_calls": int(tags["total_calls"]) if "total_calls" in tags else None,
        "total_cost": float(tags["total_cost"]) if "total_cost" in tags else None,
        "outputs": {"path": str(Workspace().outputs(budget)), "dvc": tags.get("dvc_outputs")},
    }
