"""kind `sentence`: an encoder of texts in a local folder, whose answer to a text is its embedding; on the GPU where there is one.

A folder with weights is opened by sentence-transformers, one with `model.onnx` and no weights by ONNX Runtime. The stage `encode` opens
encoders here, too.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.inputs.texts.encoders import onnx_file, read_encoder, read_onnx_encoder
from tuition.params.teacher import SentenceSettings
from tuition.teachers.shown import Facts

CHARACTERS = 20_000  # of a text, from its beginning; encoders read a few hundred tokens


class Encoder(NamedTuple):
    """`vectors(texts)` gives (n, dimensions) numbers; `sha256` of the weights."""

    dimensions: int
    vectors: Callable[[list[str]], np.ndarray]
    sha256: str


def open_encoder(place: str, where: str) -> Encoder:
    """The encoder in the folder `place`; `where` names the key. Raises UserError where it is none."""
    if file := onnx_file(place, where):
        from tuition.models.onnx_encoder import open_onnx

        folder = read_onnx_encoder(file, where)
        dimensions, vectors = open_onnx(file, where, folder.tokenizer, folder.tokens, folder.config)
    else:
        from tuition.models.sentences import open_sentences

        folder = read_encoder(place, where)
        dimensions, vectors = open_sentences(folder.path, where)
    return Encoder(dimensions, lambda texts: vectors([text[:CHARACTERS] for text in texts]), folder.sha256)


class SentenceTeacher:
    """What it is, is told by the sha256 of its weights: the same ones in another folder are the same teacher, and asking again is free."""

    idempotent = True
    classes: int | None = None
    signals = families = ("embedding",)

    def __init__(self, encoder: Encoder, version: str):
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
    return SentenceTeacher(open_encoder(settings.folder or "", "teacher.folder"), settings.version)
