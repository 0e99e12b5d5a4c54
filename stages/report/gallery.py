"""The bought samples on which teacher, label and student disagree most: likely label errors, and what the student has not learned."""

from typing import Any

import numpy as np

from stages.report.best import Owned
from tuition.inputs.kinds import workspace_inputs
from tuition.tables import read_rows
from tuition.workspace import Workspace

SHOWN = 24


def gallery(owned: Owned, logits: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    """At most 24 samples: picture or text, file, what each of the three says; first those on which the student backs the teacher surest.

    `logits` (m, C) are the student's. A sample counts where two of the three (two, where the label is not known) differ.
    """
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares = shifted / shifted.sum(axis=1, keepdims=True)
    student, teacher, label = shares.argmax(axis=1), owned.teacher, owned.labels
    differs = (teacher >= 0) & ((student != teacher) | ((label >= 0) & (label != teacher)))
    wanted = np.where(label >= 0, label, teacher).clip(0)
    surprise = 1 - shares[np.arange(len(shares)), wanted]
    against_label = (label >= 0) & (student == teacher) & (label != teacher)
    rows = [int(i) for i in np.argsort(-(surprise + against_label), kind="stable") if differs[i]][:SHOWN]
    inputs, places = workspace_inputs(), files()
    found = []
    for row in rows:
        found.append(
            {
                **{"picture": "", "text": ""},
                **inputs.shown(np.asarray(owned.samples[np.array([row])])[0]),
                "file": places.get(int(owned.positions[row]), f"data/train, row {int(owned.positions[row])}"),
                "teacher": names[teacher[row]],
                "label": names[label[row]] if label[row] >= 0 else "not known",
                "student": names[student[row]],
                "sure": float(shares[row].max()),
                "likely": bool(against_label[row]),
            }
        )
    return found


def files() -> dict[int, str]:
    """{place in data/train: file and row it came from}; {} where that is not known."""
    path = Workspace().split("train").files
    if not path.is_file():
        return {}
    return {
        place: one["file"] + (f", row {one['row']}" if one.get("row") else "")
        for place, one in enumerate(read_rows(path))
    }
