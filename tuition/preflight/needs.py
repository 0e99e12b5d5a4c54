"""What a method needs beside the answers to clean samples: labels, samples that were not bought, mixed inputs, further teachers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tuition.errors import UserError, unknown
from tuition.methods import METHODS, Card, Method, card
from tuition.params import Params, student_training
from tuition.signals import MAIN, readable

if TYPE_CHECKING:
    import numpy as np

Offer = Collection[str] | None  # families of signals that a teacher gives; None: not known before it is loaded


class Labelled(NamedTuple):
    """How many samples have labels: `known` of the `bought` that a budget buys, `pool_known` of the `pool`."""

    known: int
    bought: int
    pool_known: int
    pool: int

    @classmethod
    def of(cls, labels: np.ndarray, bought: np.ndarray) -> Labelled:
        """Of the labels (N,) of the pool, and the positions in it of what is bought."""
        known = labels >= 0
        return cls(int(known[bought].sum()), len(bought), int(known.sum()), len(known))


def check_labels(name: str, use: str, and_kd: bool, labelled: Labelled, offered: Offer) -> None:
    """Raises UserError where a method cannot do without labels that these samples lack; `and_kd`: KD is added to it."""
    if labelled.known == labelled.bought or use in ("none", "used") or (use == "needed" and (labelled.known or and_kd)):
        return
    cards = {other: card(other) for other in METHODS}
    able = [
        other
        for other, one in cards.items()
        if one.label_use in ("none", "used")
        and (offered is None or set(one.signals) <= set(readable(offered)))
        and not (one.several or one.views == "mixed")
    ]
    lack = (
        f"{labelled.pool - labelled.pool_known:,} of the {labelled.pool:,} samples of the pool lack labels, and "
        f"{labelled.bought - labelled.known:,} of the {labelled.bought:,} that this budget buys"
    )
    works = f"Methods that would work: {', '.join(able)}"
    if use == "needed":
        plus = f", {name}+kd" if offered is None or "logits" in offered else ""
        raise UserError(f"study.methods: {name!r} learns the classes from labels alone, but {lack}. {works}{plus}")
    raise UserError(
        f"study.methods: {name!r} needs the label of every sample, but {lack}. {works}. Of a method of your own, say "
        f'`label_use = "used"` in its class if it copes with labels of -1 (docs/your_method.md)'
    )


def check_rest(params: Params, name: str, about: Card) -> None:
    """Raises UserError where a method needs samples that were not bought, and is given none, or is given such that say nothing."""
    rest, key = student_training(params, name).rest, f"methods.{name}.rest"
    if rest == "none" and about.rest_use == "needed":
        raise UserError(
            f"study.methods: {name!r} learns from samples that were not bought; set {key}: unlabelled, or estimated"
        )
    if rest == "unlabelled" and about.rest_use == "added":
        able = [other for other in METHODS if card(other).rest_use != "added"]
        raise UserError(
            f"study.methods: {name!r} learns nothing of samples of which nothing is known (rest: unlabelled); set {key}: estimated, "
            f"labelled, both or none. Methods that would work: {', '.join(able)}"
        )


def check_mixed(params: Params, name: str) -> None:
    """Raises UserError where a method reads mixed inputs, and none are to be bought."""
    if params.teach.views > 1:
        raise UserError(
            f"study.methods: {name!r} reads clean samples and mixes of them, but teach.views: {params.teach.views} buys augmented "
            "views instead; set teach.views: 1 and teach.mixed: true, or leave it out of this study"
        )
    if not params.teach.mixed:
        raise UserError(
            f"study.methods: {name!r} reads mixed inputs, each one a call; set teach.mixed: true, and half of a budget "
            "more is bought: its cells use half of the clean samples and these"
        )


def check_several(name: str, method: Method, further: Mapping[str, Offer]) -> None:
    """Raises UserError where a method that reads several teachers has one, lacks a signal of one, or weighs one that is not there."""
    if not further:
        raise UserError(
            f"study.methods: {name!r} reads the answers of several teachers, but teachers is []; list at least one there, with the keys "
            f"of `{MAIN}`: each is asked for the same samples, and a sample then costs 1 + the number of teachers calls"
        )
    for other, given in further.items():
        missing = set() if given is None else set(method.signals) - set(readable(given))
        if given is not None and missing:
            raise UserError(
                f"study.methods: {name!r} needs {', '.join(sorted(missing))} of every teacher, but {other!r} of teachers gives only "
                f"{', '.join(given)} (its signals)"
            )
    weights, named = getattr(method, "weights", {}), (MAIN, *further)
    for key in weights:
        if key not in named:
            raise unknown(f"methods.{name}.weights", key, named)
    if not any(weights.get(key, 1.0) for key in named):
        raise UserError(f"methods.{name}.weights: found {weights}; no teacher is left that weighs more than 0")
