"""What made the study's best student: the calls, what they cost, and under which names their answers are kept."""

import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from tuition.files import digest, read_array, read_json
from tuition.registry.evidence import Purchase
from tuition.spend import total_spend
from tuition.targets.truth import headline
from tuition.tracking.lineage import dvc_hashes, git_tags
from tuition.workspace import Workspace


def purchase_of_budget(winner: Mapping[str, Any], outputs_digest: str | None) -> Purchase:
    """Which calls made the student of `winner` (as `best_cell` has it), at what cost, and where their answers are.

    `calls` and `cost` are those that all methods of the budget share, `total_…` with all that was bought beside them: mixed
    inputs, answers asked again, further teachers. `outputs_digest` is that of the export's arrays; `ids` that of lineage/ids.npy, the
    samples in the order of purchase.
    """
    outputs = Workspace().outputs(winner["budget"])
    teacher, spent = read_json(outputs.meta)["teacher"], read_json(outputs.spend)
    calls, cost = total_spend(spent)
    more = {name: values for name, values in spent.items() if name not in ("calls", "cost", "usable")}
    return {
        "teacher": {"name": teacher.get("name"), "fingerprint": teacher.get("fingerprint")},
        "budget": winner["budget"],
        "calls": spent["calls"],
        "cost": spent["cost"],
        "usable": spent.get("usable"),
        "total_calls": calls,
        "total_cost": cost,
        "beside": more,
        "outputs": {
            "path": str(outputs),
            "dvc": dvc_hashes().get(str(outputs)),
            "digest": outputs_digest,
            "ids": digest(read_array(outputs.ids)) if outputs.ids.is_file() else None,
        },
    }


def version_tags(
    winner: Mapping[str, Any], purchase: Purchase, study: str, weights: str, test_digest: str
) -> dict[str, str]:
    """The tags of a version: what made this student, and what it cost."""
    cell, hashes, commit = winner["cell"], dvc_hashes(), git_tags()
    paths = {
        "student": str(Workspace().student(cell)),
        "outputs": purchase["outputs"]["path"],
        "data": str(Workspace().data),
    }
    values = {
        "cell": cell,
        "study": study,
        "weights_sha256": weights,
        "test_digest": test_digest,
        "against": winner["metrics"].get("against"),
        **headline_figures(winner),
        "teacher": purchase["teacher"]["name"],
        "teacher_fingerprint": purchase["teacher"]["fingerprint"],
        "budget": purchase["budget"],
        "calls": purchase["calls"],
        "cost": purchase["cost"],
        "total_calls": purchase["total_calls"],
        "total_cost": purchase["total_cost"],
        "git_commit": commit.get("mlflow.source.git.commit"),
        "git_dirty": commit.get("git.dirty"),
        "made_with": made_with(),
        **{f"dvc_{what}": hashes.get(path) for what, path in paths.items()},
    }
    return {key: str(value) for key, value in values.items() if value is not None}


def headline_figures(winner: Mapping[str, Any]) -> dict[str, float]:
    """The figures of a winner that count, on validation and on test: val_top1 and test_top1, of retrieval val_ndcg10 and test_ndcg10."""
    metrics = winner["metrics"]
    test, val, _ = headline(metrics.get("against"))
    return {val: metrics[val], f"test_{test}": metrics[test]}


def made_with() -> str:
    """What else decides how a training rounds, in words."""
    torch = version("torch")  # which takes seconds to import
    return f"torch {torch}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
