"""Whether the version that a study's files speak of is in the store that is named here: told without MLflow."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from urllib.parse import quote

from tuition.tracking.address import DEFAULT, database_of, tracking_uri
from tuition.workspace import Workspace

MEND = (
    "the study's files came from elsewhere, as `dvc exp run --temp` and `dvc pull` bring them, and MLflow's store is no such file. "
    "`dvc checkout`, then `dvc repro -f -s register` registers its student here"
)


def why_missing(here: Workspace, registered: Mapping[str, object]) -> str:
    """Why the store has no version such as `report/registered.json` says, and what to do; empty where it has, or is a server's to know."""
    uri = tracking_uri()
    database = here.mlflow_database.absolute() if uri == DEFAULT else database_of(uri)
    if database is None or "run_id" not in registered:
        return ""
    if not database.exists():
        return f"there is no {database.name}: {MEND}"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=30)) as connection:
            found = connection.execute(
                "SELECT 1 FROM model_versions WHERE name = ? AND version = ? AND run_id = ?",
                (str(registered["name"]), int(str(registered["version"])), str(registered["run_id"])),
            ).fetchone()
    except (sqlite3.Error, ValueError):
        return ""  # who opens it says what is wrong
    return "" if found else f"{database.name} has no such version: {MEND}"
