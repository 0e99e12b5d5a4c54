"""What `banking77` and `setfit_rows` share: the texts in a workspace, what is bought of them, and what is estimated of the rest."""

import csv
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

VALIDATED = 10  # every so many-th text of train.csv


class Study(NamedTuple):
    """Texts and labels of the pool, validation and test; the teacher's logits of the pool, and features of all by their name."""

    pool: tuple[np.ndarray, np.ndarray]
    val: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    answers: np.ndarray
    teacher: float
    features: dict[str, dict[str, np.ndarray]]


def open_study(data: Path, work: Path, encoder: Path | None) -> Study:
    """The workspace `work`, which becomes the current folder; made where it is not there yet."""
    from stages.encode.__main__ import main as encode
    from stages.prepare.__main__ import main as prepare
    from tuition.files import read_array
    from tuition.inputs import texts
    from tuition.workspace import Workspace

    work.mkdir(parents=True, exist_ok=True)
    os.chdir(work)
    if not Path("data/meta.json").exists():
        write_texts(data, Path("texts.csv"))
        write_params("tfidf")
        prepare([])
    for name, source in (("tfidf", "tfidf"), ("sentence", f"sentence:{encoder}")):
        if not Path(name).exists() and (encoder or name == "tfidf"):
            write_params(source)
            encode([])
            Path("features").rename(name)
    write_params("tfidf")
    here = Workspace()
    split = {
        one: (texts.read(here.split(one).path), read_array(here.split(one).labels)) for one in ("train", "val", "test")
    }
    answers = np.load(data / "minilm_head_logits.npz")
    row = {text: place for place, (text, _) in enumerate(read_texts(data / "train.csv"))}
    right = answers["test"].argmax(1) == labels_of(data / "test.csv")
    features = {
        name: {one: np.load(f"{name}/{one}.npy") for one in split}
        for name in ("tfidf", "sentence")
        if Path(name).exists()
    }
    taught = answers["train"].astype(np.float32)[[row[text] for text in split["train"][0]]]
    return Study(split["train"], split["val"], split["test"], taught, float(right.mean()), features)


def read_texts(file: Path) -> list[tuple[str, str]]:
    with file.open(newline="", encoding="utf-8") as opened:
        return [(row["text"], row["category"]) for row in csv.DictReader(opened)]


def labels_of(file: Path) -> np.ndarray:
    """Of each text the place of its class among all of them (N,); the teacher's columns are in the same order, that of the names."""
    return np.unique([label for _, label in read_texts(file)], return_inverse=True)[1]


def write_texts(data: Path, file: Path) -> None:
    """The texts with splits, and labels of val and test."""
    written = [
        (text, label, "test")
        if split == "test"
        else (text, "" if place % VALIDATED else label, "val" if place % VALIDATED == 0 else "train")
        for split in ("train", "test")
        for place, (text, label) in enumerate(read_texts(data / f"{split}.csv"))
    ]
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("text", "label", "split"), *written])


def write_params(source: str) -> None:
    sections: dict[str, Any] = {
        "study": {"budgets": [400], "methods": ["kd"], "seeds": [0]},
        "data": {"source": "csv:texts.csv", "columns": {"text": "text"}},
        "encode": {"source": source},
        "teacher": {"kind": "table", "name": "minilm", "path": "answers.parquet"},
        "student": {"arch": "text-cnn"},
        "methods": {"kd": {}},
    }
    Path("params.yaml").write_text(json.dumps(sections))  # which is YAML too


def draw(study: Study, budget: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(bought (n,), the others), places in the pool, rising."""
    drawn = np.random.default_rng(seed).permutation(len(study.answers))
    return np.sort(drawn[:budget]), np.sort(drawn[budget:])


def estimates(study: Study, seed: int, bought: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the rest: probabilities (M, C) float16 and confidence (M,), as the stage `estimate` has them."""
    from tuition.estimators import Bought, fit
    from tuition.estimators.confidence import calibrate
    from tuition.estimators.protocol import softmax

    file = Path(f"estimated/{len(bought)}-{seed}.npz")
    if file.exists():
        found = np.load(file)
        return found["probabilities"], found["sure"]
    answers = study.answers[bought]
    fitted = fit("auto", Bought(study.features["tfidf"]["train"], bought, answers))
    logits = fitted.estimate(others)
    sure = calibrate(fitted.held_out, answers).of(logits).astype(np.float32)
    probabilities = softmax(logits).astype(np.float16)
    file.parent.mkdir(exist_ok=True)
    np.savez(file, probabilities=probabilities, sure=sure)
    return probabilities, sure
