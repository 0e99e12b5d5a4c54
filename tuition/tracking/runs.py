"""The runs of a study in MLflow: how they are tagged, found again and made."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tuition.params import Params
from tuition.tracking.record import Points, sha256, study_digest
from tuition.tracking.store import Store, search_runs

if TYPE_CHECKING:
    from mlflow.entities import Run

# tags by which runs are found again
STUDY, CELL, SETTINGS, DIGEST, SUPERSEDED = (
    f"tuition.{word}" for word in ("study", "cell", "settings", "digest", "superseded_by")
)
PARENT = "mlflow.parentRunId"


def study_run(opened: Store, params: Params) -> "Run":
    """The parent run of the study, made where there is none. Hold `store_lock` around it."""
    digest = study_digest(params)
    where = f"tags.`{STUDY}` = '{digest}' and tags.`tuition.kind` = 'study'"
    if found := search_runs(opened, where):
        return found[0]
    name = f"{params.student.arch} from {params.teacher.name}"
    made = opened.client.create_run(
        opened.experiment, run_name=name, tags={STUDY: digest, "tuition.kind": "study", **_source()}
    )
    # a server has no lock: of two that were made at once, the older one stays
    first = search_runs(opened, where)[0]
    if first.info.run_id != made.info.run_id:
        opened.client.delete_run(made.info.run_id)
    return first


def children_of(opened: Store, parent: str) -> list["Run"]:
    return search_runs(opened, f"tags.`{PARENT}` = '{parent}'")


def unfinished(runs: Sequence["Run"], cell: str, settings: dict[str, str]) -> list["Run"]:
    """Those of `runs` that were begun for this cell with these settings and never completed, newest first."""
    tags = {CELL: cell, SETTINGS: sha256(settings)}
    return [
        run
        for run in reversed(runs)
        if tags.items() <= run.data.tags.items() and DIGEST not in run.data.tags and SUPERSEDED not in run.data.tags
    ]


def new_cell_run(opened: Store, parent: str, cell: str, settings: dict[str, str]) -> str:
    tags = {PARENT: parent, CELL: cell, SETTINGS: sha256(settings), **_source()}
    return opened.client.create_run(opened.experiment, run_name=cell, tags=tags).info.run_id


def points_of(opened: Store, run: "Run") -> Points:
    """The points of the curves that a run has."""
    keys = [key for key in run.data.metrics if key.startswith("curve/")]
    return {
        (key, metric.step): metric.value
        for key in keys
        for metric in opened.client.get_metric_history(run.info.run_id, key)
    }


def _source() -> dict[str, str]:
    """Who and what made a run, as MLflow's pages show it."""
    import getpass

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = "unknown"
    return {"mlflow.user": user, "mlflow.source.type": "LOCAL", "mlflow.source.name": Path(sys.argv[0]).name}
