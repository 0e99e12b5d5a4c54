"""Class scores from the first token of a chat model's answer: which tokens stand for which class, and with what probability.

A token stands for a class where it is the class's label, or where that label alone begins with it (white space around it and case aside).
The signs that some tokenizers write for white space (`▁two`, `Ġtwo`) count as that, unless a label begins with one.
Left out are tokens that begin several labels, since they do not say which, and single letters that are no whole label (`I`, as in «I
cannot …»). A class that several tokens stand for (` cat` and `Cat`) has the sum of their probabilities. An answer of which most
begins several labels is not used; labels of which one begins another are refused from the start.

**Floor.** A server names its most probable tokens only (20 at most, at many). A class that is not among them is given the probability that
is left over, shared out evenly over the classes that are missing, but no more than the least probable token named, nor less than
10⁻¹²: it is an upper bound of what they have on average, since other tokens share in what is left over too.

**Mass.** Where the labels hold less than a hundredth of the probability, the model begins with something else, and the answer is not used.

**Result.** log P(class | one of the labels is answered): the logarithms of these probabilities, normalised over the classes.
"""

import math
import string
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tuition.errors import UserError
from tuition.teachers.formats.bodies import Malformed, shown

SPACES = "▁ĠĊ"  # SentencePiece's space; byte-level BPE's space and line break
LEAST = 1e-12  # of a probability: its logarithm is finite
LEAST_SHARE = 0.01  # of the probability of the answer's token that the labels hold; with less, what they hold is noise
ROUNDING = 1e-6  # of the probabilities' sum: servers give logarithms in float32


def check_labels(labels: Sequence[str], names: Sequence[str], by_beginning: bool = True) -> None:
    """UserError where `labels` are not one a class of `names`, or (`by_beginning`) a token could not tell two of them apart."""
    where = "teacher.options.labels"
    hint = "give one label a class with beginnings of their own, such as A, B, C or 00, 01, 02"
    if len(labels) != len(names):
        raise UserError(f"{where}: found {len(labels)} for the data's {len(names)} classes")
    plain = [_plain(label) for label in labels]
    if not all(plain):
        raise UserError(f"{where}: found an empty one ({list(labels)[plain.index('')]!r}); {hint}")
    if not by_beginning:
        return
    plain.sort()  # what begins another label stands right before such a one
    for label, other in pairwise(plain):
        if other.startswith(label):
            raise UserError(
                f"{where}: {label!r} and {other!r}: one is the beginning of the other, so that a token cannot tell; {hint}"
            )


def class_scores(
    top: Sequence[tuple[str, float]], labels: Sequence[str], least_share: float = LEAST_SHARE
) -> np.ndarray:
    """(classes,) float64 log-probabilities from the most probable tokens and their log-probabilities, given in any order.

    Raises Malformed where no token stands for a class, where those that begin several labels outweigh those that stand for one, and
    where the labels hold less than `least_share` of the probability.
    """
    plain, of_class, vague = [_plain(label) for label in labels], np.zeros(len(labels)), 0.0
    unclear: list[str] = []
    for token, logprob in top:
        fitting = _classes_of(_plain(token), plain) or _classes_of(_plain(bare(token)), plain)
        if len(fitting) == 1:
            of_class[fitting[0]] += math.exp(logprob)
        elif fitting:
            vague += math.exp(logprob)
            unclear.append(token)
    if vague > of_class.sum():
        raise Malformed(
            f"the answer begins with {shown(unclear[0])}, as several labels do: give labels with beginnings of their own "
            "(teacher.options.labels), such as A, B, C"
        )
    if not of_class.any():
        found = ", ".join(repr(token) for token, _ in top[:5])
        raise Malformed(
            f"no label among the tokens of the answer ({found}, …): see teacher.options.prompt and teacher.options.labels"
        )
    if (share := of_class.sum()) < least_share:
        token, logprob = max(top, key=lambda one: one[1])
        raise Malformed(
            f"the labels hold {100 * share:.2g} % of the probability of the answer's token, less than {100 * least_share:g} % "
            f"({shown(token)} has {100 * math.exp(logprob):.3g} %), so that their scores are noise: see teacher.options.prompt; of a model "
            "that thinks first, switch that off (teacher.options.extra), or set teacher.answers: label or json. "
            "teacher.unchecked: [mass] takes such answers"
        )
    missing = of_class == 0
    if missing.any():
        left = max(1.0 - sum(math.exp(logprob) for _, logprob in top), ROUNDING)
        least = math.exp(min(logprob for _, logprob in top))
        of_class[missing] = min(least, left / missing.sum())
    of_class = np.maximum(of_class, LEAST)
    return np.log(of_class / of_class.sum())


def bare(token: str) -> str:
    """A token without the white space before it, also where its tokenizer's own signs for that are shown."""
    return token.lstrip(SPACES + string.whitespace)


def _plain(text: str) -> str:
    return text.strip().casefold()


def _classes_of(token: str, labels: Sequence[str]) -> list[int]:
    """The classes that a token may stand for."""
    whole = [place for place, label in enumerate(labels) if label == token]
    if whole or not token or (len(token) == 1 and token.isascii()):
        return whole
    return [place for place, label in enumerate(labels) if label.startswith(token)]
