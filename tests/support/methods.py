"""What the tests of methods share: batches and context from plain arrays, and a method built from its name."""

import torch
from torch import nn

from tuition.methods import Batch, Context, build


def tensors(arrays):
    """Arrays as tensors of their own type."""
    return {name: torch.as_tensor(array) for name, array in arrays.items()}


def batch_of(
    labels,
    teacher=None,
    *,
    groups=None,
    rows=None,
    step=0,
    images=None,
    seed=0,
    extra=None,
    others=None,
    present=None,
    rest=None,
):
    """A Batch of float64 teacher signals (arrays or tensors, (B, …))."""
    labels = torch.as_tensor(labels, dtype=torch.int64)
    count = len(labels)
    return Batch(
        inputs=torch.zeros(count, 1, 8, 8) if images is None else torch.as_tensor(images),
        labels=labels,
        teacher=tensors(teacher or {}),
        groups=groups,
        rows=torch.arange(count) if rows is None else torch.as_tensor(rows),
        step=step,
        generator=torch.Generator().manual_seed(seed),
        extra=extra or {},
        others={name: tensors(one) for name, one in (others or {}).items()},
        present=tensors(present or {}),
        rest=rest,
    )


def context_of(student, teacher=None, *, labels=None, classes=10, steps=100, per_epoch=10, seed=0, **more):
    """A Context for student signals and bought teacher outputs given as arrays (n, …); the student's shapes are taken from them."""
    n = len(next(iter(student.values())))
    return Context(
        student={name: tuple(array.shape[1:]) for name, array in student.items()},
        teacher=tensors(teacher or {}),
        labels=torch.zeros(n, dtype=torch.int64) if labels is None else torch.as_tensor(labels),
        classes=classes,
        steps=steps,
        per_epoch=per_epoch,
        seed=seed,
        **{
            "inputs": torch.zeros(n, 1, 8, 8, dtype=torch.uint8),
            "normalise": lambda images: images.float() / 255,
            "make_student": lambda arch=None: nn.Linear(1, 1),
            "student_model": nn.Linear(1, 1),
            **more,
        },
    )


def made(name, settings=None, context=None, dtype=torch.float64, seed=0):
    """The objective of `name`, set up, in float64, with plain cross-entropy off unless the settings say otherwise."""
    torch.manual_seed(seed)
    objective = build(name, settings or {})
    if context is not None:
        objective.setup(context)
    if "weight_ce" not in (settings or {}):
        objective.weight_ce = 0.0
    return objective.to(dtype)


def _leaves(arrays):
    """Tensors that would take a gradient, where they hold numbers that can have one."""
    return {
        name: value.clone().requires_grad_() if value.is_floating_point() else value for name, value in arrays.items()
    }


def terms(objective, student, batch):
    """The objective's terms as floats, for student signals given as arrays, and the student's gradients.

    Checks what holds for every method: finite gradients, and none that reaches the teacher.
    """
    ours = {name: torch.tensor(array, requires_grad=True) for name, array in student.items()}
    theirs, others = _leaves(batch.teacher), {name: _leaves(one) for name, one in batch.others.items()}
    given = objective(ours, batch._replace(teacher=theirs, others=others))
    total = sum(given.values())
    total.backward()
    assert torch.isfinite(total)
    for name, value in ours.items():
        assert value.grad is None or torch.isfinite(value.grad).all(), name
    for name, value in [pair for one in (theirs, *others.values()) for pair in one.items()]:
        assert value.grad is None or not value.grad.any(), f"a gradient reaches a teacher's {name}"
    return {name: value.item() for name, value in given.items()}, {name: value.grad for name, value in ours.items()}
