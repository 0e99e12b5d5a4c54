"""The names of what a teacher says of a sample, and what they are stored as. Knows names and types only: no torch, no teacher.

A family is what methods ask for and `teacher.signals` lists; it stands for one array a sample, or for one a stage of the teacher's
network, numbered from 1, shallow to deep:

    logits (C,)                    of a teacher that names its first few classes natural logarithms, of the others NaN: unknown
    label () int32                 the index of the class that it names; of a teacher that gives logits the highest one's
    embedding (d,)                 what the classifier sees
    pooled1 … (c,)                 global average of a stage's map
    energy1 … (h, w)               mean over channels of the squared map, divided by its L2 norm
    map1 … (c, h, w)               the map itself
    preact1 … (c, h, w)            the map before the activation after it
    flow1 … (c, c')                inner products of the channels of neighbouring maps, from the stem on
    sign1 … (⌈c/8⌉, h, w) uint8    which units of preact are on, packed over channels
    features (c, h, w)             the last feature map, whose average the classifier sees
    pruned (C,)                    logits of a copy with 10 % of each layer's weights pruned
    boundary                       supporting (C, H, W) uint8, an image near the teacher's decision boundary, and supporting_logits (C,)
    text (L,) int32                the tokens of a text, −1 behind its end (`tuition/targets/tokens.py`)
    tops                           top_values (L, k), log-probabilities of the likeliest at each of its tokens, and top_indices (L, k) int32
    classifier                     the last layer's weights, one for all samples: classifier_weight (C, d), classifier_bias (C,)
"""

import re
from collections.abc import Collection
from functools import cache

import numpy as np

MAIN = "teacher"  # stands for the section `teacher` where several teachers are named
LAYERED = ("pooled", "energy", "map", "preact", "flow", "sign")
TOGETHER = {
    "boundary": ("supporting", "supporting_logits"),
    "classifier": ("classifier_weight", "classifier_bias"),
    "tops": ("top_values", "top_indices"),
}
FAMILIES = ("logits", "embedding", *LAYERED, "features", "pruned", *TOGETHER)
HALVED = ("embedding", "pooled", "energy", "map", "preact", "flow", "features")  # stored in float16
OF_CLASSES = ("logits", "pruned", "supporting_logits")  # arrays a sample whose last axis is the classes
CLASS = "label"  # the index of one
ROUNDING = 2.0**-11  # relative error of a float16, for values from 6.1e-5 on; below, the error is at most 3e-8


def arrays_of(family: str, present: Collection[str]) -> list[str]:
    """The arrays that a family stands for among those `present`, shallow to deep; empty where it is not there."""
    if family in LAYERED:
        numbers = sorted(int(m[1]) for name in present if (m := re.fullmatch(rf"{family}(\d+)", name)))
        return [f"{family}{number}" for number in numbers]
    names = TOGETHER.get(family, (family,))
    return list(names) if set(names) <= set(present) else []


def family_of(name: str) -> str:
    """The family of an array's name; a name of the user's own is its own family."""
    for family, names in TOGETHER.items():
        if name in names:
            return family
    layered = re.fullmatch(rf"({'|'.join(LAYERED)})\d+", name)
    return layered[1] if layered else name


def readable(offered: Collection[str]) -> list[str]:
    """The families that methods may read of a teacher that gives those `offered`: logits tell the class, too."""
    return [*offered, *(["label"] if "logits" in offered and "label" not in offered else [])]


def with_votes(signals: Collection[str], samples: int) -> list[str]:
    """The arrays that are exported of a teacher that gives `signals` and is asked `samples` times for each sample: of the classes that
    it names, the shares of votes, as logits."""
    return [*signals, *(["logits"] if samples > 1 and CLASS in signals and "logits" not in signals else [])]


def families(present: Collection[str]) -> list[str]:
    """The families that these arrays make up."""
    return list(dict.fromkeys(family_of(name) for name in present))


@cache  # asked of every answer
def stored_type(name: str) -> type[np.generic]:
    """What an array is stored as: logits in full, a class as an integer, packed bits and pixels as bytes, the rest as halves.

    A name of the user's own is stored as float32.
    """
    family = family_of(name)
    if name in ("label", "text", "top_indices"):
        return np.int32
    if family == "sign" or name == "supporting":
        return np.uint8
    return np.float16 if family in HALVED else np.float32
