"""What must hold before the first call is paid: every method of the study exists, is set up rightly, and can have its signals."""

from collections.abc import Collection, Mapping
from typing import Any

from tuition.errors import UserError, unknown
from tuition.params import Params, comparison_set
from tuition.params.checks import MAIN
from tuition.params.teacher import REMOTE, Teacher

ROWS = 8  # of the empty answer on which methods are tried


Offer = Collection[str] | None  # families of signals that a teacher gives; None: not known before it is loaded


def offer(teacher: Teacher) -> Offer:
    """What a teacher's section says of the families of signals that it gives."""
    if teacher.kind == "checkpoint":
        return teacher.signals
    if teacher.kind == "experts":
        return ("logits", "difficulty", "expert")
    return ("logits",) if teacher.kind in REMOTE and teacher.kind != "http" else None


def check_methods(params: Params, offered: Offer, further: Mapping[str, Offer] | None = None) -> None:
    """Raises UserError where a method of the study has a wrong setting, needs a family of signals that is not in `offered` (the
    teacher's), compares without a comparison set, reads mixed inputs that are not to be bought, or several teachers where there is
    one, or one that does not give what it needs: `further`, those of `teachers` by name (None: as their sections say)."""
    from tuition.methods import METHODS, build, card, check_settings, resolve

    further = {one.name: offer(one) for one in params.teachers} if further is None else further
    for name, section in params.methods.items():
        check_settings(name, section)
    for name in params.study.methods:
        objective, about = build(name, params.methods[name]), card(resolve(name, params.methods[name]).method)
        missing = set() if offered is None else set(objective.signals) - set(offered)
        if offered is not None and missing:
            cards = {other: card(other) for other in METHODS}
            able = [other for other, one in cards.items() if set(one.signals) <= set(offered) and not one.several]
            raise UserError(
                f"study.methods: {name!r} needs {', '.join(sorted(missing))}, but the teacher gives only {', '.join(offered)} "
                f"(teacher.signals). Methods that would work: {', '.join(able)}"
            )
        if about.compares:
            _check_comparisons(params, name, objective.method, offered)
        if about.views == "mixed" and params.teach.views > 1:
            raise UserError(
                f"study.methods: {name!r} reads clean samples and mixes of them, but teach.views: {params.teach.views} buys augmented "
                "views instead; set teach.views: 1 and teach.mixed: true, or leave it out of this study"
            )
        if about.views == "mixed" and not params.teach.mixed:
            raise UserError(
                f"study.methods: {name!r} reads mixed inputs, each one a call; set teach.mixed: true, and half of a budget "
                "more is bought: its cells use half of the clean samples and these"
            )
        if about.several:
            _check_several(name, objective.method, further)


def _check_several(name: str, method: Any, further: Mapping[str, Offer]) -> None:
    """Raises UserError where a method that reads several teachers has one, lacks a signal of one, or weighs one that is not there."""
    if not further:
        raise UserError(
            f"study.methods: {name!r} reads the answers of several teachers, but teachers is []; list at least one there, with the keys "
            f"of `{MAIN}`: each is asked for the same samples, and a sample then costs 1 + the number of teachers calls"
        )
    for other, given in further.items():
        missing = set() if given is None else set(method.signals) - set(given)
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


def _check_comparisons(params: Params, name: str, method: Any, offered: Collection[str] | None) -> None:
    """Raises UserError where a method that compares has no comparison set, or one that cannot be drawn or used by it."""
    from tuition.comparisons import checked_weights

    found = comparison_set(params, name)
    if found is None:
        raise UserError(
            f"compare.sets.{name}: no such section, but {name!r} compares samples; add `{name}: {{strategy: in-batch, k: 2}}`"
        )
    key, wanted = found
    checked_weights(f"compare.sets.{key}.weights", wanted.k, wanted.weights)
    if wanted.k > min(params.study.budgets):
        raise UserError(
            f"compare.sets.{key}: groups of k = {wanted.k} need as many samples, but study.budgets has {min(params.study.budgets)}"
        )
    if wanted.strategy == "in-batch" and wanted.k > params.train.batch_size:
        raise UserError(
            f"compare.sets.{key}: k = {wanted.k} within batches of train.batch_size = {params.train.batch_size}"
        )
    if wanted.strategy == "nearest" and offered is not None and "logits" not in offered:
        raise UserError(
            f"compare.sets.{key}: strategy 'nearest' needs logits, but the teacher gives only {', '.join(offered)}"
        )
    if getattr(method, "combine", "difference") != "difference" and wanted.k != 2:
        raise UserError(
            f"compare.sets.{key}: k = {wanted.k}, but methods.{name}.combine: {method.combine} is of pairs; k: 2"
        )


def check_student(params: Params, facts: dict[str, Any]) -> None:
    """Build the student for data with `facts`. Raises UserError where it can't be, or its taps give no maps."""
    from tuition.models import build

    size = (facts["height"], facts["width"])
    given = {"channels": facts["channels"], "classes": len(facts["classes"]), "size": size, "taps": params.student.taps}
    try:
        build(params.student.arch, **given)
    except UserError as error:
        raise UserError(f"params.yaml: student: {error}") from None


def check_shapes(params: Params, facts: dict[str, Any], teacher: Any) -> None:
    """Set up every method of the study on an empty answer of a local teacher, for the student of `params` and data with `facts`.

    Raises UserError where a method cannot work with these two networks, such as one that needs maps of equal width.
    """
    import numpy as np
    import torch

    from tuition.methods import build
    from tuition.methods.facts import Facts
    from tuition.training.networks import make, of, shapes

    model = {
        "arch": params.student.arch,
        "taps": params.student.taps,
        "classes": len(facts["classes"]),
        **{key: facts[key] for key in ("channels", "height", "width")},
    }
    pixels = np.zeros((ROWS, *(model[key] for key in ("channels", "height", "width"))), dtype=np.uint8)
    given = {name: torch.from_numpy(values) for name, values in teacher.answer_now(pixels).items()}
    student, rows = make(model), torch.arange(ROWS)
    half = {"images": torch.from_numpy(pixels), "lam": torch.full((ROWS,), 0.5), "first": rows, "second": rows.flip(0)}
    for name in params.study.methods:
        objective = build(name, params.methods[name])
        objective.setup(
            Facts(
                student=shapes(student, model, objective.maps),
                teacher=given,
                labels=rows % model["classes"],
                classes=model["classes"],
                steps=10,
                per_epoch=1,
                seed=0,
                pixels=half["images"],
                normalise=lambda images: images.float(),
                make_student=lambda arch=None: make(of(model, arch)),
                student_model=student,
                mixed={**half, "logits": given["logits"]} if "logits" in given else {},
                others={one.name: {"logits": torch.zeros(ROWS, model["classes"])} for one in params.teachers},
                present={one.name: torch.ones(ROWS, dtype=torch.bool) for one in params.teachers},
                constants={key: torch.from_numpy(value) for key, value in teacher.constants().items()},
            )
        )
        objective.wrap(student)
