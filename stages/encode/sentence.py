"""`sentence:<folder>`: the vector that an encoder of texts gives, from a local folder (`tuition/teachers/sentence.py`)."""

from typing import Any

import numpy as np

from stages.encode.encoding import Encoder, Pools
from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.teachers.sentence import open_encoder


def open_sentence(source: str, facts: dict[str, Any], pools: Pools) -> Encoder:
    """The encoder in the folder that `source` names. Raises UserError for samples that are no texts and for a folder that is none."""
    inputs = inputs_of(facts)
    if inputs.NAME != "texts":
        raise UserError(f"encode.source: {source!r} reads texts, but the samples of this study are {inputs.NAME}")
    opened = open_encoder(source.partition(":")[2], f"encode.source: {source}")

    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        return opened.vectors(list(pools[split][rows]))

    return Encoder(source, opened.dimensions, encode, opened.sha256)
