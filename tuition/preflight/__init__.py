"""What must hold before the first call is paid: every method of the study exists, is set up rightly, and can have its signals."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tuition.comparisons import checked_weights
from tuition.errors import UserError
from tuition.inputs.kinds import described, inputs_of
from tuition.methods import (
    BUILT_IN,
    BY_TASK,
    METHODS,
    Card,
    Context,
    Method,
    build,
    card,
    check_settings,
    method_file,
    resolve,
)
from tuition.params import Data, Params, comparison_set
from tuition.preflight.documents import check_retrieval
from tuition.preflight.language import check_texts
from tuition.preflight.needs import Labelled, Offer, check_labels, check_mixed, check_rest, check_several
from tuition.signals import readable

if TYPE_CHECKING:
    import numpy as np

    from tuition.models.description import NetworkDescription
    from tuition.models.network import Network

__all__ = ["Labelled", "Offer", "check_methods", "check_shapes", "check_student"]

ROWS = 8  # of the empty answer on which methods are tried


class Teaches(Protocol):
    """A local teacher, as far as methods are tried on it."""

    def answer_now(self, inputs: np.ndarray, /) -> dict[str, np.ndarray]: ...

    def constants(self) -> dict[str, np.ndarray]: ...


def check_methods(
    params: Params,
    offered: Offer,
    further: Mapping[str, Offer] | None = None,
    inputs: str = "images",
    labelled: Labelled | None = None,
) -> None:
    """Raises UserError where a method of the study has a wrong setting, needs a family of signals that is not in `offered` (the
    teacher's), looks inside samples of another kind than `inputs`, compares without a comparison set, reads mixed inputs that are not to
    be bought, or several teachers where there is one, or one that does not give what it needs: `further`, those of `teachers` by name
    (None: as their sections say). And where it needs labels that are not there: `labelled` (None: all samples have labels)."""
    further = {one.name: one.offered for one in params.teachers} if further is None else further
    for name, section in params.methods.items():
        check_settings(name, section)
    for name in params.study.methods:
        objective, about = build(name, params.methods[name]), card(resolve(name, params.methods[name]).method)
        _check_watched(params, name)
        _check_task(name, about, params.data)
        if about.task == "retrieval":
            check_retrieval(params, name, objective, offered)
            continue
        if about.task == "generate":
            check_texts(params, name, about)
            continue
        _check_inputs(params, name, about, inputs)
        _check_signals(name, objective.signals, offered)
        if labelled is not None:
            check_labels(name, about.label_use, bool(objective.weight_kd), labelled, offered)
        check_rest(params, name, about)
        if about.compares:
            _check_comparisons(params, name, objective.method, offered)
        if about.views == "mixed":
            check_mixed(params, name)
        if about.several:
            check_several(name, objective.method, further)


def _check_watched(params: Params, name: str) -> None:
    """Raises UserError where a method is the user's own, and `compare.watch` does not hold its file."""
    method = resolve(name, params.methods[name]).method
    if method in BUILT_IN:
        return
    file, watched = method_file(method).resolve(), Path(params.compare.watch).resolve()
    if file != watched and watched not in file.parents:
        raise UserError(
            f"compare.watch: found {params.compare.watch!r}, but study.methods lists {name!r}, whose class is in {os.path.relpath(file)}; "
            "name that here too, so that `dvc repro` notices when it changes"
        )


def _check_task(name: str, about: Card, data: Data) -> None:
    """Raises UserError where a method learns another task than the data is of."""
    if about.task != data.task:
        raise UserError(
            f"study.methods: {name!r} learns {about.task}, but data.source {data.source!r} is of {data.task}. Methods that would work: "
            f"{', '.join(BY_TASK[data.task])}"
        )


def _check_inputs(params: Params, name: str, about: Card, inputs: str) -> None:
    """Raises UserError where a method looks inside samples, and these are none that it knows, or inside a student that shows nothing."""
    if about.inputs and inputs not in about.inputs:
        able = [other for other in METHODS if not card(other).inputs or inputs in card(other).inputs]
        raise UserError(
            f"study.methods: {name!r} looks inside a sample and takes {', '.join(about.inputs)}, but the samples of this study are "
            f"{inputs}. Methods that would work: {', '.join(able)}"
        )
    if inputs == "texts" and (about.maps or about.inside) and not (about.one_place and params.student.taps):
        able = [other for other in METHODS if not (card(other).inputs or card(other).maps or card(other).inside)]
        why = (
            "student.taps names none: modules of transformers:<folder> that give a vector for each token"
            if about.one_place
            else "those of texts have one place each"
        )
        raise UserError(
            f"study.methods: {name!r} reads maps inside the student, and {why}. Methods that would work: {', '.join(able)}"
        )


def _check_signals(name: str, needed: Collection[str], offered: Offer) -> None:
    """Raises UserError where a method needs a family of signals that the teacher does not give."""
    if offered is None or set(needed) <= set(found := readable(offered)):
        return
    cards = {other: card(other) for other in METHODS}
    able = [other for other, one in cards.items() if set(one.signals) <= set(found) and not one.several]
    only_names = (
        "logits" in needed and "label" in offered
    )  # a class is no logit: at any temperature it would be another answer
    votes = (
        "; or ask several times for each sample (teacher.samples, where the kind takes it): votes are logits"
        if only_names
        else ""
    )
    where = "teacher.answers: it names a class, and no scores" if only_names else "teacher.signals"
    raise UserError(
        f"study.methods: {name!r} needs {', '.join(sorted(set(needed) - set(found)))}, but the teacher gives only "
        f"{', '.join(offered)} ({where}). Methods that would work: {', '.join(able)}{votes}"
    )


def _check_comparisons(params: Params, name: str, method: Method, offered: Offer) -> None:
    """Raises UserError where a method that compares has no comparison set, or one that cannot be drawn or used by it."""
    found = comparison_set(params, name)
    if found is None:
        raise UserError(
            f"compare.sets.{name}: no such section, but {name!r} compares samples; add `{name}: {{strategy: in-batch, k: 2}}`"
        )
    key, wanted = found
    checked_weights(f"compare.sets.{key}.weights", wanted.k, wanted.weights)
    bought = min(params.study.budgets) // params.teacher.samples
    if wanted.k > bought:
        raise UserError(
            f"compare.sets.{key}: groups of k = {wanted.k} need as many samples, but study.budgets has {min(params.study.budgets)} calls, "
            f"which buy {bought}"
        )
    if wanted.strategy == "in-batch" and wanted.k > params.train.batch_size:
        raise UserError(
            f"compare.sets.{key}: k = {wanted.k} within batches of train.batch_size = {params.train.batch_size}"
        )
    if wanted.strategy == "nearest" and offered is not None and "logits" not in offered:
        raise UserError(
            f"compare.sets.{key}: strategy 'nearest' needs logits, but the teacher gives only {', '.join(offered)}"
        )
    combine = getattr(method, "combine", "difference")
    if combine != "difference" and wanted.k != 2:
        raise UserError(f"compare.sets.{key}: k = {wanted.k}, but methods.{name}.combine: {combine} is of pairs; k: 2")


def check_student(params: Params, facts: dict[str, Any]) -> None:
    """Build the student for data with `facts`. Raises UserError where it can't be, or its taps give no maps."""
    from tuition.models import check_arch, make

    if params.data.task == "generate":  # it is built of its teacher's tokens
        return
    check_arch("student.arch", params.student.arch, inputs_of(facts).NAME)
    model = _student(params, facts)
    try:
        make(model)
    except UserError as error:
        raise UserError(f"params.yaml: student: {error}") from None


def check_shapes(params: Params, facts: dict[str, Any], teacher: Teaches) -> None:
    """Set up every method of the study on an empty answer of a local teacher, for the student of `params` and data with `facts`.

    Raises UserError where a method cannot work with these two networks, such as one that needs maps of equal width.
    """
    from tuition.models import make
    from tuition.training.networks import shapes

    model = _student(params, facts)
    samples = inputs_of(facts).empty(ROWS, facts)
    answers, student = teacher.answer_now(samples), make(model)
    context = _context(params, model, student, samples, answers, teacher.constants())
    for name in params.study.methods:
        objective = build(name, params.methods[name])
        objective.setup(replace(context, student=shapes(student, model, objective.maps, objective.inside)))
        objective.wrap(student)


def _student(params: Params, facts: dict[str, Any]) -> NetworkDescription:
    """The description of the student, as far as it decides the network."""
    from tuition.models import tokens_of

    inputs, tokens = inputs_of(facts), tokens_of(params.student.arch, params.student.folder)
    own = described(inputs, facts) | inputs.own(inputs.empty(1, facts), tokens, params.student)
    model = {"arch": params.student.arch, "taps": params.student.taps, "classes": len(facts["classes"]), **own}
    if params.data.task == "retrieval":
        model["embedding"] = params.student.embedding or ROWS  # as wide as the teacher's, of whom nobody knows yet
    return cast("NetworkDescription", model)


def _context(
    params: Params,
    model: NetworkDescription,
    student: Network,
    samples: np.ndarray,
    answers: dict[str, np.ndarray],
    constants: dict[str, np.ndarray],
) -> Context:
    """What a method would be given, of empty samples and the teacher's answers to them; without the shapes of the student's signals."""
    import torch

    from tuition.models import make
    from tuition.training.networks import of

    teacher = {name: torch.from_numpy(values) for name, values in answers.items()}
    inputs, rows = torch.from_numpy(inputs_of(model).numbers(samples, model)), torch.arange(ROWS)
    half = {"inputs": inputs, "lam": torch.full((ROWS,), 0.5), "first": rows, "second": rows.flip(0)}
    return Context(
        student={},
        teacher=teacher,
        labels=rows % model["classes"],
        classes=model["classes"],
        steps=10,
        per_epoch=1,
        seed=0,
        inputs=inputs,
        normalise=lambda stored: stored.float(),
        make_student=lambda arch=None: make(of(model, arch)),
        student_model=student,
        mixed={**half, "logits": teacher["logits"]} if "logits" in teacher else {},
        others={one.name: {"logits": torch.zeros(ROWS, model["classes"])} for one in params.teachers},
        present={one.name: torch.ones(ROWS, dtype=torch.bool) for one in params.teachers},
        constants={key: torch.from_numpy(value) for key, value in constants.items()},
    )
