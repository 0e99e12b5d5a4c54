"""Curves in MLflow while a student trains. Nothing here may disturb it: no exception, no wait, no early import."""

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuition.workspace import cell_name

if TYPE_CHECKING:
    from tuition.params import Params


class Live:
    """Pushes the rows of a cell's history to MLflow from a daemon thread, once training has lasted `after_seconds`.

    A short cell never pays for MLflow's import: `reconcile` writes it from its files. The run made here is the one that
    `reconcile` completes. Trouble of any kind prints one line and ends the pushing.
    """

    def __init__(
        self, params: "Params", budget: int, method: str, seed: int, *, after_seconds: float = 20, every: float = 5
    ) -> None:
        self._cell = (params, budget, method, seed)
        self._after, self._every = after_seconds, every
        self._rows: list[dict[str, Any]] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self._thread.start()

    def row(self, row: Mapping[str, Any]) -> None:
        """One row of the history: {"step": int, "loss": float, ...}. Numbers, no tensors: nothing waits for a GPU."""
        self._rows.append(dict(row))

    def close(self, wait: float = 15) -> None:
        """Push what is left, waiting for at most so many seconds; at once where nothing was ever pushed."""
        self._closing.set()
        self._thread.join(wait)

    def _work(self) -> None:
        if self._closing.wait(self._after):
            return
        try:
            self._push()
        except Exception as error:  # whatever it is, the student matters more
            print(f"warning: mlflow: no live curves ({type(error).__name__}: {error})".split("\n")[0], file=sys.stderr)

    def _push(self) -> None:
        from tuition.tracking import runs
        from tuition.tracking.record import cell_params, curves
        from tuition.tracking.store import connect_store, log_values, store_lock

        params, budget, method, seed = self._cell
        opened = connect_store(params.registry.name)
        settings = cell_params(params, budget, method, seed)
        with store_lock(opened.uri):
            parent = runs.study_run(opened, params).info.run_id
            cell = cell_name(budget, method, seed)
            begun = runs.unfinished(runs.children_of(opened, parent), cell, settings)
            run = begun[0].info.run_id if begun else runs.new_cell_run(opened, parent, cell, settings)
        log_values(opened.client, run, params=settings)
        known = runs.points_of(opened, begun[0]) if begun else {}  # a resumed training repeats some steps
        sent, last = 0, False
        while not last:
            last = self._closing.wait(self._every)
            rows = self._rows[sent:]
            sent += len(rows)
            points = {point: value for point, value in curves(rows).items() if point not in known}
            log_values(opened.client, run, points)
        opened.client.set_terminated(run)
