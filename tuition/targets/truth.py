"""What a student is held against: the labels of a split, or, where data has none at all, the teacher's top class.

Data without any labels says `evaluated_by: teacher` in data/meta.json. Then `teach.evaluation` buys answers for some of val and test, and
what agrees with them stands where accuracy would: figures have the same names, and speak of agreement with the teacher.
Either way the truth of a split is a file of labels (N,) int64, -1 where nothing is known, and figures are those of the known ones alone.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.targets.classes import top_class
from tuition.workspace import Export, Workspace

Against = Literal["labels", "teacher", "relevance", "references"]
WORDS: dict[str, str] = {
    "labels": "accuracy",
    "teacher": "agreement with the teacher",
    "relevance": "nDCG@10",
    "references": "token accuracy",
}


class Headline(NamedTuple):
    """The figure of a metrics.json by which students are told apart: on test, on validation, and which breaks a tie there (less is
    better)."""

    test: str
    val: str
    tie: str


CLASSES = Headline("top1", "val_top1", "val_nll")
RELEVANCE = Headline("ndcg10", "val_ndcg10", "val_loss")
REFERENCES = Headline("token_accuracy", "val_token_accuracy", "val_nll")


def against(here: Workspace) -> Against:
    """What figures of this workspace are held against."""
    stated = read_json(here.data.meta) if here.data.meta.is_file() else {}
    if stated.get("task") == "retrieval":
        return "relevance"
    if stated.get("task") == "generate":
        return "references"
    return "teacher" if stated.get("evaluated_by") == "teacher" else "labels"


def headline(stated: str | None) -> Headline:
    """The figures that count, by `against` of a metrics.json."""
    return {"relevance": RELEVANCE, "references": REFERENCES}.get(stated or "", CLASSES)


def word(stated: str | None) -> str:
    """What the figure that counts is called. `stated`: `against` of a metrics.json, if any."""
    return WORDS[stated or "labels"]


def truth_file(here: Workspace, split: str, budget: int | str) -> Path:
    """The file of the labels (or of what is relevant) of a split that a student of this budget is held against."""
    if against(here) == "teacher" and split != "train":
        return here.outputs(budget).evaluation(split).labels
    if against(here) == "relevance":
        return here.split(split).relevance
    if against(here) == "references":
        return here.split(split).ids
    return here.split(split).labels


def read_truth(here: Workspace, split: str, budget: int | str) -> np.ndarray:
    """The labels (N,) of a split, -1 where unknown. Raises UserError where none is known."""
    path = truth_file(here, split, budget)
    if not path.is_file():
        raise UserError(f"{path}: not there; `dvc repro` buys what evaluation needs (teach.evaluation)")
    labels = read_array(path)
    if len(labels) and not (labels >= 0).any():
        raise UserError(
            f"{path}: none of {len(labels)} samples has a label; give labelled samples (data.evaluation), or, without any, "
            "set teach.evaluation: the number of teacher calls to spend on val and test"
        )
    return labels


def known_part(samples: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples (n, …) and labels (n,) of those whose label is known: the very same arrays where all are."""
    known = labels >= 0
    return (samples, labels) if known.all() else (samples[known], labels[known])


def top_classes(export: Export) -> np.ndarray:
    """The teacher's top class of each row of an export (n,) int64: its label where it gave labels, else that of the known logits."""
    if export.signal("label").is_file():
        return read_array(export.signal("label")).reshape(-1).astype(np.int64)
    return top_class(read_array(export.signal("logits")))
