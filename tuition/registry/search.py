"""Asking a student of retrieval: the documents that come first for a text, from its folder `students/<cell>/` and the study's data/."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.kinds import inputs_of
from tuition.targets.ranking import rank
from tuition.workspace import Model, Workspace, given, lacking


@dataclass(frozen=True)
class Found:
    """A document: its name in the source, its text, and its cosine with the query."""

    name: str
    text: str
    score: float


class Search:
    """A student, its index of documents, and what these are."""

    def __init__(self, folder: str | Path):
        """`folder`: students/<cell> of a study of retrieval. Raises UserError where it is none, or data/ holds other documents."""
        from tuition.models import load_student

        path = given(folder)
        if wrong := lacking(path, "folder"):
            raise UserError(
                f"{folder}: {wrong}; valid: the folder of a student of retrieval, such as students/400-embed-match-0"
            )
        student, here = Model(path), Workspace(path.resolve().parent.parent)
        if not student.index.is_file():
            raise UserError(
                f"{folder}: has no {student.index.name}; valid: the folder of a student of retrieval, such as students/400-embed-match-0"
            )
        self.network, self.description = load_student(path)
        self.index = np.asarray(read_array(student.index)).astype(np.float32)
        facts, pool = read_json(here.data.meta), here.split("train")
        if facts.get("documents") != len(self.index):
            raise UserError(
                f"{folder}: its index is of {len(self.index)} documents, but {here.data} has {facts.get('documents', 'none')}; `dvc repro`"
            )
        self.texts = inputs_of(facts).read(pool.path)[: len(self.index)]
        self.names = [name.decode() for name in read_array(pool.names)[: len(self.index)].tolist()]

    def __call__(self, queries: Sequence[str], top: int = 10) -> list[list[Found]]:
        """For each query the `top` documents, best first. Raises UserError for an empty query."""
        import torch

        from tuition.inputs.texts import tuition_texts
        from tuition.training.retrieval import embed

        try:
            given = tuition_texts.stored(list(queries))
        except ValueError as error:
            raise UserError(f"query: {error}") from None
        rows, scores = rank(embed(self.network, self.description, given, torch.device("cpu")), self.index, top)
        return [
            [Found(self.names[row], str(self.texts[row]), float(score)) for row, score in zip(*one, strict=True)]
            for one in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
