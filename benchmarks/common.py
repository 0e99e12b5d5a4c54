"""What the benchmarks share: temporary workspaces that never touch the user's, figures with their spread, and the result files."""

import json
import os
import platform
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PRODUCTS = ("dvc.lock", "report/", "results/", "speed/", "spend/", "benchmarks/results/", "docs/")  # of a study here
COUNTING = {  # a teacher that keeps its own bill, as params
    "teacher.kind": "python",
    "teacher.function": "benchmarks.counting_teacher:answer",
    "teacher.name": "counting",
    "teacher.price": 0.01,
    "teacher.unchecked": ["labels", "repeats"],  # it knows nothing of the images, and each call is to be a sample
}

FEW = {  # bought samples alone, and the settings that the methods' tables were measured with, where params.yaml learns from the pool too
    "encode.source": "none",
    "estimate.estimator": "none",
    "estimate.students": 0,
    "methods.kd": {"temperature": 4.0, "weight_ce": 0.1, "weight_kd": 0.9},
    "methods.ckd-mse": {"labels": "ce", "weight_labels": 1.0, "weight_relation": 1.0},
}


class Home:
    """A temporary place: `origin`, a git repository of the present tree, its clones, a ledger and a bill beside them."""

    def __init__(self, folder: Path):
        self.folder, self.origin = folder, folder / "origin"
        self.ledger, self.bill = folder / "ledger.db", folder / "bill.txt"
        for name in _git("ls-files", "-co", "--exclude-standard").splitlines():
            if not name.startswith(PRODUCTS) and (ROOT / name).is_file():
                (self.origin / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.origin / name)
        me = ("-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost")
        for command in (("init", "-q"), ("add", "-A"), (*me, "commit", "-q", "-m", "the tree that is measured")):
            subprocess.run(["git", *command], cwd=self.origin, check=True)

    def clone(self, name: str, params: Mapping[str, Any], base: Mapping[str, Any] = FEW) -> Path:
        """A fresh clone with changed parameters, those of `base` first."""
        folder = self.folder / name
        subprocess.run(["git", "clone", "-q", str(self.origin), str(folder)], check=True)
        set_params(folder, {**base, **params})
        return folder

    def environment(self, folder: Path, **more: str) -> dict[str, str]:
        """What a process in the clone `folder` sees: this Python, that clone's code, and this home's ledger."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "TUITION_LEDGER": str(self.ledger),
            "BILL": str(self.bill),
            "XDG_DATA_HOME": str(self.folder / "share"),
            "DVC_SITE_CACHE_DIR": str(self.folder / "dvc"),
            "DVC_NO_ANALYTICS": "true",
            "DO_NOT_TRACK": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        return {**kept, **own, **more}

    def run(self, folder: Path, module: str, *args: object, **more: str) -> str:
        """`python -m module args` in a clone, to its end; returns what it printed. Stops the benchmark where it fails."""
        command = [sys.executable, "-m", module, *map(str, args)]
        ran = subprocess.run(command, cwd=folder, env=self.environment(folder, **more), capture_output=True, text=True)
        if ran.returncode:
            raise SystemExit(
                f"{shlex.join(command[1:])} ended with {ran.returncode}:\n{(ran.stdout + ran.stderr)[-3000:]}"
            )
        return ran.stdout

    def repro(self, folder: Path, *targets: str) -> str:
        """`dvc repro targets` in a clone."""
        return self.run(folder, "dvc", "repro", *targets)


@contextmanager
def home(keep: bool = False) -> Iterator[Home]:
    """A temporary Home, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tuition-benchmark-"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a time limit cleans up too
    try:
        yield Home(folder)
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def set_params(folder: Path, changes: Mapping[str, Any]) -> None:
    """Change params.yaml in `folder`: {"train.steps": 5}. Stops the benchmark where a section does not exist."""
    yaml, path = YAML(), folder / "params.yaml"
    params = yaml.load(path.read_text())
    for key, value in changes.items():
        *sections, last = key.split(".")
        place = params
        for section in sections:
            if section not in place:
                raise SystemExit(f"{key}: params.yaml has no section {section!r}")
            place = place[section]
        place[last] = value
    with path.open("w") as file:
        yaml.dump(params, file)


def spread(values: Sequence[float]) -> dict[str, Any]:
    """n, median, least, most and standard deviation of what was measured, and the values themselves."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values), "sd": sd}
    rounded = {key: None if value is None else round(value, 5) for key, value in figures.items()}
    return {"n": len(values), **rounded, "values": [round(value, 5) for value in values]}


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with the same keys as a table."""
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for row in cells:
        print("  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)))


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def save(name: str, claim: str, parameters: Mapping[str, Any], figures: Any) -> None:
    """Write benchmarks/results/<name>.json: the claim, the command, where it ran, and the figures."""
    module = sys.modules["__main__"].__spec__
    found = {
        "claim": claim,
        "command": shlex.join(["uv", "run", "python", "-m", module.name if module else sys.argv[0], *sys.argv[1:]]),
        "machine": machine(),
        "commit": _git("rev-parse", "HEAD").strip(),
        "changed_since_commit": [
            line[3:] for line in _git("status", "--porcelain").splitlines() if not line[3:].startswith(PRODUCTS)
        ],
        "parameters": dict(parameters),
        "figures": figures,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written: {path.relative_to(ROOT)}")


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": cores,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout
