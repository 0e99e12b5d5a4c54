"""Where runs are kept: the MLflow store that `MLFLOW_TRACKING_URI` names, by default `mlflow.db` in the workspace.

Knows nothing of studies and cells. MLflow is imported by `connect`, never before.
"""

import fcntl
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from tuition.addresses import shown
from tuition.errors import UserError
from tuition.tracking.address import (
    VALID,
    VARIABLE,
    as_location,
    check_store,
    database_of,
    store_missing,
    tracking_uri,
)
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BATCH = 800  # metrics a request: MLflow takes 1000 entries of all kinds, and the last request carries the rest

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",  # else every model takes a copy of this project's lock file along
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_NOISE = {  # loggers, and from which level on they say what a user can do something about
    "alembic": "WARNING",
    "mlflow.pyfunc": "WARNING",
    "mlflow.store.db.utils": "WARNING",
    "mlflow.utils.environment": "ERROR",  # warns that uv's environments have no pip
}


REGISTER = "`dvc repro -f -s register` where a study that is up to date came from elsewhere"


class Store(NamedTuple):
    client: "MlflowClient"
    experiment: str  # its id
    uri: str

    @property
    def shown(self) -> str:
        """The store's address without a user's name and password."""
        return shown(self.uri)


def connect_store(name: str, create: bool = True) -> Store:
    """Open the store, with an experiment of that name; makes both where there are none, unless `create` is false.

    Raises UserError as `check_store` does, where MLflow cannot open the store, where the experiment of that name was deleted, and
    where nothing is to be made and there is no store.
    """
    uri = tracking_uri()
    if not create and store_missing():
        raise UserError(f"MLFLOW_TRACKING_URI: no MLflow store at {uri}; `dvc repro` makes one, or {REGISTER}")
    check_store()
    for key, value in _SETTINGS.items():
        os.environ.setdefault(key, value)
    import logging

    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for logger, level in _NOISE.items():
        logging.getLogger(logger).setLevel(level)
    try:
        return _open(uri, name, create)
    except (MlflowException, SQLAlchemyError) as error:
        first = (str(error).replace(uri, shown(uri)).splitlines() or [""])[0]
        raise UserError(f"{VARIABLE}: MLflow cannot open {shown(uri)}: {first}; {VALID}") from error


def _open(uri: str, name: str, create: bool) -> Store:
    from mlflow import MlflowClient

    database = database_of(uri)
    if database is None:
        client = MlflowClient(uri)
        return Store(client, _experiment(client, name, None, create), uri)
    uri = f"{uri.partition(':///')[0]}:///{database}"  # MLflow keeps stores open by their URI: the same in any folder
    with store_lock(uri):
        if not database.is_file() or database.stat().st_size == 0:
            _create(database)
        client = MlflowClient(uri)
        return Store(client, _experiment(client, name, database, create), uri)


@contextmanager
def store_lock(uri: str) -> Iterator[None]:
    """Hold the lock of a SQLite store, so that two processes never both make the same run; other stores have none."""
    database = database_of(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{database}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def log_values(
    client: "MlflowClient",
    run: str,
    metrics: Mapping[tuple[str, int], float] | None = None,
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write metrics by (key, step), parameters and tags in as few requests as MLflow allows.

    Tags go in the last request: a tag that says "complete" is never there without what it speaks of.
    """
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    left = [Metric(key, value, now, step) for (key, step), value in (metrics or {}).items()]
    while len(left) > BATCH:
        client.log_batch(run, metrics=left[:BATCH])
        left = left[BATCH:]
    given = [Param(key, value) for key, value in (params or {}).items()]
    while len(given) > 100:
        client.log_batch(run, params=given[:100])
        given = given[100:]
    marks = [RunTag(key, value) for key, value in (tags or {}).items()]
    if left or given or marks:
        client.log_batch(run, metrics=left, params=given, tags=marks)


def search_runs(store: Store, where: str) -> list["Run"]:
    """All runs of the experiment that match an MLflow filter, oldest first (deleted ones are not there)."""
    runs: list[Run] = []
    token = None
    while True:
        page = store.client.search_runs([store.experiment], where, max_results=1000, page_token=token)
        runs += page
        token = page.token
        if not token:
            return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _create(database: Path) -> None:
    """Make a fresh database under another name, then rename it: a process killed here leaves no half of one."""
    from mlflow import MlflowClient
    from sqlalchemy import Engine, event

    def no_sync(connection: "DBAPIConnection", _: "ConnectionPoolEntry") -> None:
        connection.cursor().execute("PRAGMA synchronous = OFF")

    fresh = database.with_name(f"{database.name}.new")
    fresh.unlink(missing_ok=True)
    event.listen(Engine, "connect", no_sync)  # MLflow's sixty migrations wait for the disk after each statement
    try:
        MlflowClient(f"sqlite:///{fresh}").search_experiments(max_results=1)
    finally:
        event.remove(Engine, "connect", no_sync)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(fresh, database)


def artifact_root(folder: Path) -> str:
    """Where the artifacts of a workspace lie, as MLflow takes it."""
    return as_location(Workspace(folder).mlflow_artifacts)


def _experiment(client: "MlflowClient", name: str, database: Path | None, create: bool) -> str:
    """The id of the experiment of that name; "" where there is none and none is to be made."""
    from mlflow.exceptions import MlflowException

    # beside the database, wherever the process stands; a server chooses for itself
    place = f"{artifact_root(database.parent)}/{quote(name)}" if database else None
    found = client.get_experiment_by_name(name)
    if found is None and not create:
        return ""
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=place)
        except MlflowException:  # another process was quicker
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        raise UserError(
            f"register.name: the MLflow experiment {name!r} was deleted; bring it back with "
            f"`mlflow experiments restore -x {found.experiment_id}` or choose another name"
        )
    if place is not None and database is not None:
        _follow_a_move(database, found.artifact_location, place)
    return found.experiment_id


# every column in which MLflow keeps the absolute path of an artifact
_PATHS = [
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
]


def _follow_a_move(database: Path, recorded: str, place: str) -> None:
    """Correct the paths in the database after the workspace was moved or copied: MLflow stores absolute ones only."""
    new = as_location(database.parent)
    tail = place[len(new) :]
    if recorded == place or not recorded.startswith("/") or not recorded.endswith(tail):
        return
    old = recorded[: -len(tail)]
    print(f"mlflow: the workspace moved from {unquote(old)}; correcting the paths in {database.name}", file=sys.stderr)
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for table, column in _PATHS:
            columns = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if column in columns:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (new, len(old) + 1, len(old) + 1, f"{old}/"),
                )
