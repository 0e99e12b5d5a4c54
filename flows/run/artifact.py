"""What a flow leaves in Prefect: the report's table, the picture and the spend, and where to look further, as Markdown."""

import base64
import json
import os
from typing import Any

from tuition.workspace import Workspace

SECTIONS = ("Results", "What was spent")  # of report.md


def study_artifact() -> str:
    """The study's artifact, from the files in `report/`."""
    report = Workspace().report
    parts = [_sections(report.text.read_text())]
    if (picture := report.accuracy_picture).exists():  # inside the text: an artifact holds no other file
        code = base64.b64encode(picture.read_bytes()).decode()
        parts.append(f"![Accuracy against teacher calls](data:image/png;base64,{code})")
    if (registered := report.registered).exists():
        parts.append(_links(json.loads(registered.read_text())))
    return "\n\n".join(parts) + "\n"


def failure_artifact(failures: dict[str, list[str]], waiting: list[str]) -> str:
    """The artifact of a study that is not complete: each failed stage's last lines, and what waits for them."""
    parts = [f"## {name} failed\n\n```\n" + "\n".join(lines) + "\n```" for name, lines in failures.items()]
    if waiting:
        parts.append(f"Not run, because they need what failed: {', '.join(waiting)}.")
    return "\n\n".join(["# The study is not complete", *parts]) + "\n"


def terminal_text(text: str) -> str:
    """As a terminal shows it: without the picture."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("![")) + "\n"


def _sections(report: str) -> str:
    """The report's title and those of its sections that a glance needs; their pictures are files, which are left out."""
    title, *sections = report.split("\n## ")
    kept = [f"## {part}" for part in sections if part.startswith(SECTIONS)]
    lines = [title.splitlines()[0], "", *"\n".join(kept).splitlines()]
    return "\n".join(line for line in lines if not line.startswith("![")).strip()


def _links(registered: dict[str, Any]) -> str:
    """The registered version and the MLflow runs behind it; links where MLflow is a server."""
    version = f"{registered['name']} version {registered['version']}"
    server = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    lines = ["## Where to look"]
    if server.startswith(("http://", "https://")) and "@" not in server:  # an address with a password is no link
        model = f"{server}/#/models/{registered['name']}/versions/{registered['version']}"
        lines.append(f"- [{version}]({model}): {registered['reason']}")
        if "study_run_id" in registered:
            run = f"{server}/#/experiments/{registered['experiment_id']}/runs/{registered['study_run_id']}"
            lines.append(f"- [the study in MLflow]({run}), a nested run a cell")
    else:
        lines.append(f"- {version}: {registered['reason']}")
        lines.append(
            f"- `mlflow ui --backend-store-uri sqlite:///{Workspace().mlflow_database}` shows the study, a nested run a cell"
        )
    return "\n".join([lines[0], "", *lines[1:]])
