"""Texts: a string each, of any length. What `tuition.inputs.protocol.Inputs` lists; neither torch nor tokenizers until they are needed.

Samples are an array (n,) of objects, each a `str`: NumPy's own type for strings takes seven times as long to index (1.5 s against 0.2 s
for a million), and both teachers and tokenizers want `str`. On disk they are one Arrow file.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuition.inputs.protocol import Augmentation, Facts, Samples
from tuition.inputs.texts import tuition_texts
from tuition.inputs.texts.files import content_id, facts, read, to_file, warnings, write
from tuition.inputs.texts.pool import features
from tuition.inputs.texts.refused import (
    as_sent,
    check_sent,
    local_facts,
    mix,
    replay,
    resized,
    sent,
    view_size,
)
from tuition.inputs.texts.tokens import own

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tuition.inputs.protocol import Preprocessing
    from tuition.inputs.texts.batch import PlacedTexts

__all__ = [
    "AXES",
    "DESCRIBED",
    "DYNAMIC",
    "EXPORTED",
    "NAME",
    "REQUIRES",
    "SERVED",
    "SUFFIX",
    "arranged",
    "as_sent",
    "chat_part",
    "check_chat",
    "check_sent",
    "content_id",
    "empty",
    "facts",
    "features",
    "handed",
    "local_facts",
    "mix",
    "numbers",
    "own",
    "place",
    "preprocessing",
    "read",
    "receiver",
    "replay",
    "resized",
    "sent",
    "shape",
    "shown",
    "size",
    "statistics",
    "to_file",
    "view_size",
    "warnings",
    "write",
]

NAME = "texts"
AXES = "none: one string"
DESCRIBED: tuple[str, ...] = ("tokens", "vocabulary", "max_tokens")
DYNAMIC: tuple[int, ...] = (0, 1)
SERVED = "texts: one string, a list of them, or a table with them in its column `text`, or in its only one"
REQUIRES: tuple[str, ...] = ("tokenizers",)
SUFFIX = ".txt"
EXPORTED = "tokens"
SHOWN = 300  # characters of a text in a report


def statistics(samples: Samples) -> dict[str, Any]:
    """Nothing: tokens have no mean."""
    return {}


def shape(facts: Facts) -> tuple[int, ...]:
    return ()


def size(facts: Facts, times: str = "x") -> str:
    """The least and the largest number of characters."""
    low, high = facts["characters"]
    return f"{low:,} to {high:,} characters"


def empty(count: int, facts: Facts) -> Samples:
    """Texts without a character."""
    return np.full(count, "", dtype=object)


def handed(samples: Samples) -> Any:
    """A list of `str`."""
    return samples.tolist()


def numbers(samples: Samples, facts: Facts) -> np.ndarray:
    """Tokens (n, longest) int32, shorter texts filled up with 0."""
    return tuition_texts.numbers(samples, facts)


def place(samples: Samples, device: torch.device, facts: Facts, augmentation: Augmentation | None) -> PlacedTexts:
    """Their tokens, of which shares `token_dropout` and, in runs, `span_masking` are left out by chance where `augmentation` says so."""
    import torch

    from tuition.inputs.texts.batch import PlacedTexts

    tokens, starts = (torch.from_numpy(one).to(device) for one in tuition_texts.tokens(samples, facts))
    if augmentation is None:
        return PlacedTexts(tokens, starts)
    return PlacedTexts(tokens, starts, dropout=augmentation.token_dropout, spans=augmentation.span_masking)


def preprocessing(facts: Facts) -> nn.Module:
    """Tokens as they are: networks of texts begin with an embedding of them."""
    from torch import nn

    return nn.Identity()


def receiver() -> Path:
    return Path(tuition_texts.__file__)


def arranged(inputs: Tensor) -> Tensor:
    """Without the columns in which no text has a token."""
    used = inputs.ne(0).any(dim=0).nonzero()
    return inputs[:, : int(used[-1]) + 1 if len(used) else 1]


def chat_part(sample: str | bytes, settings: Preprocessing, detail: str | None) -> dict[str, Any]:
    """The text itself."""
    return {"type": "text", "text": sample}


def check_chat(facts: Facts) -> None:
    """Every text can be shown."""


def shown(sample: str) -> dict[str, Any]:
    """The beginning of the text."""
    return {"text": sample if len(sample) <= SHOWN else f"{sample[:SHOWN]} …"}
