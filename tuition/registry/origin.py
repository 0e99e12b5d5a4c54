"""What made the study's best student: the calls, what they cost, and under which names their answers are kept."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tuition import spend
from tuition.files import digest, read_array, read_json
from tuition.tracking import lineage


def bought(winner: dict[str, Any], outputs_digest: str | None) -> dict[str, Any]:
    """Which calls made the student of `winner` (as `choose.best` has it), at what cost, and where their answers are.

    `calls` and `cost` are those that all methods of the budget share, `total_…` with all that was bought beside them: mixed
    inputs, answers asked again, further teachers. `outputs_digest` is that of the export's arrays; `ids` that of lineage/ids.npy, the
    samples in the order of purchase.
    """
    outputs = Path("outputs", str(winner["budget"]))
    meta, spent = read_json(outputs / "meta.json"), read_json(outputs / "spend.json")
    calls, cost = spend.total(spent)
    ids = outputs / "ids.npy"
    more = {name: values for name, values in spent.items() if name not in ("calls", "cost", "usable")}
    return {
        "teacher": {key: meta["teacher"].get(key) for key in ("name", "fingerprint")},
        "budget": winner["budget"],
        "calls": spent["calls"],
        "cost": spent["cost"],
        "usable": spent.get("usable"),
        "total_calls": calls,
        "total_cost": cost,
        "beside": more,
        "outputs": {
            "path": str(outputs),
            "dvc": lineage.dvc_hashes().get(str(outputs)),
            "digest": outputs_digest,
            "ids": digest(read_array(ids)) if ids.is_file() else None,
        },
    }


def tags(winner: dict[str, Any], bought: dict[str, Any], study: str, weights: str, test_digest: str) -> dict[str, str]:
    """The tags of a version: what made this student, and what it cost."""
    cell, hashes, commit = winner["cell"], lineage.dvc_hashes(), lineage.git()
    paths = {"student": f"students/{cell}", "outputs": bought["outputs"]["path"], "data": "data"}
    values = {
        "cell": cell,
        "study": study,
        "weights_sha256": weights,
        "test_digest": test_digest,
        "val_top1": winner["metrics"]["val_top1"],
        "test_top1": winner["metrics"]["top1"],
        "teacher": bought["teacher"]["name"],
        "teacher_fingerprint": bought["teacher"]["fingerprint"],
        "budget": bought["budget"],
        "calls": bought["calls"],
        "cost": bought["cost"],
        "total_calls": bought["total_calls"],
        "total_cost": bought["total_cost"],
        "git_commit": commit.get("mlflow.source.git.commit"),
        "git_dirty": commit.get("git.dirty"),
        "made_with": made_with(),
        **{f"dvc_{what}": hashes.get(path) for what, path in paths.items()},
    }
    return {key: str(value) for key, value in values.items() if value is not None}


def made_with() -> str:
    """What else decides how a training rounds, in words."""
    torch = version("torch")  # which takes seconds to import
    return f"torch {torch}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
