"""Brings MLflow in line with the files of the study. Run it as often as you like: what is there stays."""

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

from tuition.files import file_digest
from tuition.params import Params
from tuition.tracking import runs
from tuition.tracking.lineage import dvc_hashes, git_tags
from tuition.tracking.record import Points, Record, read_cell, sha256, study_digest, study_params
from tuition.tracking.runs import CELL, DIGEST, SUPERSEDED
from tuition.tracking.store import Store, connect_store, log_values, store_lock
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities import Run


class Reconciled(TypedDict):
    """The study's digest and run, its cells' runs, the cells that were written and the runs that were superseded, by id."""

    study: str
    parent: str
    cells: dict[str, str]
    written: list[str]
    superseded: list[str]


def reconcile(params: Params, opened: Store | None = None) -> Reconciled:
    """Write what MLflow does not know yet of the study in the current directory.

    A study's run is found by a digest of what its cells share, a cell's by a digest of its files. A cell whose files
    have changed gets a new run, and the old one is tagged `tuition.superseded_by`. Cells without results are left out.
    Raises UserError where the store cannot be reached or a file is damaged.
    """
    hashes, commit = dvc_hashes(), git_tags()
    records = [read for cell in params.study.cells() if (read := read_cell(params, *cell, hashes)) is not None]
    opened = opened or connect_store(params.registry.name)
    with store_lock(opened.uri):
        parent = runs.study_run(opened, params)
        children = runs.children_of(opened, parent.info.run_id)
        cells: dict[str, str] = {}
        written: list[str] = []
        superseded: list[str] = []
        for one in records:
            siblings = [run for run in children if run.data.tags.get(CELL) == one.name]
            current = next((run.info.run_id for run in siblings if run.data.tags.get(DIGEST) == one.digest), None)
            if current is None:
                current = _complete(opened, parent.info.run_id, one, siblings, commit)
                written.append(one.name)
            cells[one.name] = current
            superseded += _supersede(opened, current, siblings)
        _complete_study(opened, params, parent, records, commit)
    digest = study_digest(params)
    return {
        "study": digest,
        "parent": parent.info.run_id,
        "cells": cells,
        "written": written,
        "superseded": superseded,
    }


def _complete(opened: Store, parent: str, one: Record, siblings: Sequence["Run"], commit: dict[str, str]) -> str:
    """Write a cell to its live run, where training pushed one that agrees with the files, or to a new one."""
    for begun in runs.unfinished(siblings, one.name, one.params):
        known = runs.points_of(opened, begun)
        if _agree(known, one.curves):
            run = begun.info.run_id
            break
    else:
        run, known = runs.new_cell_run(opened, parent, one.name, one.params), {}
    _log_inputs(opened, run, one)
    last = max((step for _, step in one.curves), default=0)
    points = {point: value for point, value in one.curves.items() if point not in known}
    points |= {(key, last): value for key, value in one.metrics.items()}
    log_values(opened.client, run, points, one.params, {**one.tags, **commit, DIGEST: one.digest})
    opened.client.set_terminated(run)
    return run


def _agree(known: Points, curves: Points) -> bool:
    """Whether a live run shows the training that the files show; the file may hold fewer columns and fewer digits."""
    columns = {key for key, _ in curves}
    return all(
        math.isclose(value, curves.get((key, step), math.nan), rel_tol=1e-3, abs_tol=1e-5)
        for (key, step), value in known.items()
        if key in columns
    )


def _supersede(opened: Store, current: str, siblings: Sequence["Run"]) -> list[str]:
    """Tag a cell's other runs with the one that took their place; and take the tag off where old files came back."""
    marked = []
    for run in siblings:
        old = run.info.run_id
        if old == current:
            if SUPERSEDED in run.data.tags:
                opened.client.delete_tag(old, SUPERSEDED)
        elif run.data.tags.get(SUPERSEDED) is None:
            opened.client.set_tag(old, SUPERSEDED, current)
            if run.info.status == "RUNNING":
                opened.client.set_terminated(old, "KILLED")
            marked.append(old)
    return marked


def _log_inputs(opened: Store, run: str, one: Record) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    opened.client.log_inputs(
        run,
        [
            DatasetInput(
                # MLflow takes 36 characters; the tags digest.* hold it whole
                Dataset(data.name, data.digest[:32], "local", json.dumps({"uri": data.source})),
                [InputTag("mlflow.data.context", data.context)],
            )
            for data in one.datasets
        ],
    )


def _complete_study(
    opened: Store, params: Params, parent: "Run", records: Sequence[Record], commit: dict[str, str]
) -> None:
    """Write the study's own run: shared parameters, its lists, the best student's figures, the report's files."""
    report = Workspace().report
    files = sorted(path for path in report.path.rglob("*") if path.is_file() and path != report.registered)
    lists = {f"study.{key}": str(value) for key, value in params.study.model_dump().items()}
    contents = [(str(path), file_digest(path)) for path in files]
    digest = sha256([lists, [one.digest for one in records], contents])
    if parent.data.tags.get(DIGEST) == digest:
        return
    run = parent.info.run_id
    for path in files:
        opened.client.log_artifact(run, str(path), str(path.parent))
    metrics = {"cells": float(len(records)), "calls": max((one.metrics["calls"] for one in records), default=0.0)}
    for key in ("val_top1", "top1", "val_ndcg10", "ndcg10", "val_token_accuracy", "token_accuracy"):
        if values := [one.metrics[key] for one in records if key in one.metrics]:
            metrics[f"best_{key}"] = max(values)
    points = {(key, 0): value for key, value in metrics.items()}
    log_values(opened.client, run, points, study_params(params), {**lists, **commit, DIGEST: digest})
    opened.client.set_terminated(run)
