"""A workspace that `python -m flows.serve` works in, and what of it runs: known by a mark of the tests' own, not by serve's records."""

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from support import ROOT
from support.workspaces import make_workspace

MARK = "TUITION_TEST_MARK"


class Workspace:
    """`serve(action, …)` runs a command there; `processes()` are all that any of them has left running."""

    def __init__(self, folder: Path, prepared: Path):
        self.folder = folder
        self.environment = make_workspace(folder, prepared, databases=False) | {MARK: uuid.uuid4().hex}
        del self.environment["PREFECT_HOME"]
        shutil.copy(ROOT / "prefect.yaml", folder)

    def command(self, *arguments: str, **environment: str) -> list[Any]:
        return [[sys.executable, "-m", *arguments], self.environment | environment]

    def serve(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        command, env = self.command("flows.serve", *arguments, **environment)
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=500)

    def start(self) -> subprocess.CompletedProcess:
        return self.serve("start", "--prefect-port", "0", "--mlflow-port", "0")

    def begin(self) -> subprocess.Popen:
        """`start`, under way."""
        command, env = self.command("flows.serve", "start", "--prefect-port", "0", "--mlflow-port", "0")
        return subprocess.Popen(command, cwd=self.folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def state(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / ".tuition/serve.json").read_text())
        except FileNotFoundError:
            return {"services": {}}

    def exported(self, told: str) -> dict[str, str]:
        """The environment that the last line which start prints makes in another shell."""
        return dict(word.split("=", 1) for word in told.strip().splitlines()[-1].split()[1:])

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == self.environment[MARK]:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def having(self, words: str) -> list[psutil.Process]:
        """Those of these processes that have the words in their command."""
        found = []
        for process in self.processes():
            try:
                if words in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def clean(self) -> None:
        for _ in range(5):
            for process in self.processes():
                process.kill()


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError(f"in {seconds:.0f} s: {what}")


def elsewhere(folder: Path) -> dict[str, str]:
    """An environment of another shell: neither the workspace's folder nor anything that it knows."""
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "MLFLOW_", "TUITION_"))
    }
    return {**inherited, "PREFECT_HOME": str(folder / "elsewhere"), "DO_NOT_TRACK": "true"}
