"""What a version's run keeps of its student: test figures that a later one is held against, its files, and what made it."""

import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, read_json, write_json
from tuition.tables import read_rows
from tuition.tracking.store import Store

CALLS = "calls.json"  # in lineage/: which calls made this student, and at what cost


def keep(store: Store, run: str, cell: str, bought: dict[str, Any]) -> None:
    """Log the folders test/, student/ and lineage/ to the run of `cell`; `bought` becomes lineage/calls.json.

    What is there already stays: the run belongs to one student, and so do its files.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for folder, sources in _folders(cell, str(bought["budget"])).items():
            there = {Path(entry.path).name for entry in store.client.list_artifacts(run, folder)}
            place = Path(scratch, folder)
            place.mkdir()
            for name, source in sources.items():
                if name not in there and source.is_file():
                    shutil.copyfile(source, place / name)
            if folder == "lineage" and CALLS not in there:
                write_json(place / CALLS, bought)
            if any(place.iterdir()):
                store.client.log_artifacts(run, str(place), folder)


def _folders(cell: str, budget: str) -> dict[str, dict[str, Path]]:
    results, student, outputs = Path("results", cell), Path("students", cell), Path("outputs", budget)
    return {
        "test": {
            "labels.npy": Path("data/test/labels.npy"),
            **{name: results / name for name in ("logits.npy", "metrics.json", "per_class.csv", "latency.json")},
        },
        "student": {name: student / name for name in ("weights.safetensors", "student.json", "meta.json")},
        "lineage": {
            **{name: Path(name) for name in ("params.yaml", "dvc.lock", "dvc.yaml", "additions.dvc")},
            **{name: outputs / name for name in ("ids.npy", "views.npy", "spend.json")},
        },
    }


def fetch(store: Store, version: Any, folder: str, into: Path) -> Path | None:
    """Download one of the folders of a version's run; None where its run or its files were deleted, or never kept."""
    from mlflow.exceptions import MlflowException

    into.mkdir(parents=True, exist_ok=True)
    try:
        place = Path(store.client.download_artifacts(version.run_id, folder, str(into)))
    except (MlflowException, OSError):
        return None
    return place if place.is_dir() else None


def read(store: Store, version: Any) -> dict[str, Any]:
    """{"logits": (N, C) or None, "labels": (N,) or None, "metrics", "recalls", "latency"} of a version's test."""
    found: dict[str, Any] = {"logits": None, "labels": None, "metrics": {}, "recalls": {}, "latency": {}}
    with tempfile.TemporaryDirectory() as scratch:
        place = fetch(store, version, "test", Path(scratch))
        if place is None:
            return found
        for name in ("logits", "labels"):
            found[name] = _whole(lambda path: np.array(read_array(path)), place / f"{name}.npy", None)
        for name in ("metrics", "latency"):
            found[name] = _whole(read_json, place / f"{name}.json", {})
        found["recalls"] = _whole(_recalls, place / "per_class.csv", {})
    return found


def _whole(read: Callable[[Path], Any], path: Path, otherwise: Any) -> Any:
    """What is in a file; `otherwise` where it was not kept, or was damaged since."""
    try:
        return read(path)
    except (UserError, OSError, ValueError, KeyError):
        return otherwise


def _recalls(path: Path) -> dict[str, float]:
    recalls = {row["label"]: float(row["recall"]) for row in read_rows(path)}
    return {label: recall for label, recall in recalls.items() if not math.isnan(recall)}


def bought(store: Store, version: Any) -> dict[str, Any]:
    """Which calls made a version's student, at what cost: lineage/calls.json, or what the tags of an older version say."""
    with tempfile.TemporaryDirectory() as scratch:
        place = fetch(store, version, "lineage", Path(scratch))
        if place is not None and (place / CALLS).is_file():
            return read_json(place / CALLS)
    return of_tags(version.tags)


def of_tags(tags: dict[str, str]) -> dict[str, Any]:
    """The part of it that stands in a version's tags: no file is read."""
    cell = tags.get("cell", "")
    budget = cell.partition("-")[0]
    return {
        "teacher": {"name": tags.get("teacher"), "fingerprint": tags.get("teacher_fingerprint")},
        "budget": int(budget) if budget.isdigit() else None,
        "calls": int(tags["calls"]) if "calls" in tags else None,
        "cost": float(tags["cost"]) if "cost" in tags else None,
        "total_calls": int(tags["total_calls"]) if "total_calls" in tags else None,
        "total_cost": float(tags["total_cost"]) if "total_cost" in tags else None,
        "outputs": {"path": f"outputs/{budget}", "dvc": tags.get("dvc_outputs")},
    }
