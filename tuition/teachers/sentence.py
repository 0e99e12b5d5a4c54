"""kind `sentence`: an encoder of texts in a local folder, whose answer to a text is its embedding; on the GPU where there is one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.models.sentences import Sentences, open_sentences
from tuition.params.teacher import SentenceSettings
from tuition.teachers.shown import Facts


class SentenceTeacher:
    """What it is, is told by the sha256 of its weights: the same ones in another folder are the same teacher, and asking again is free."""

    idempotent = True
    classes: int | None = None
    signals = families = ("embedding",)

    def __init__(self, encoder: Sentences, version: str):
        self.encoder = encoder
        self.description: dict[str, Any] = {"kind": "sentence", "weights": encoder.sha256, "version": version}

    def answer(self, inputs: np.ndarray, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
        """Texts (B,) -> embedding (B, d)."""
        return {"embedding": self.encoder.vectors(list(inputs))}

    def constants(self) -> dict[str, np.ndarray]:
        return {}


def load_sentence(settings: SentenceSettings, facts: Facts) -> SentenceTeacher:
    """The teacher of `teacher.folder`. Raises UserError for samples that are no texts, and for a folder that is no encoder."""
    if (name := inputs_of(facts).NAME) != "texts":
        raise UserError(f"teacher.kind: 'sentence' reads texts, but the samples of this study are {name}")
    return SentenceTeacher(open_sentences(settings.folder or "", "teacher.folder"), settings.version)
