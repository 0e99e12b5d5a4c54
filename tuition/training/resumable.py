"""A fit from where it was broken off to its end, whatever it learns: with its state kept, its rows shown and its speed told."""

from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric

from tuition.models.network import Network
from tuition.params import Training
from tuition.training.display import Display, Speed
from tuition.training.loader import Batches
from tuition.training.loop import Learner, Progress, Row, fit
from tuition.training.state import State, TrainingState


def circumstances(fabric: Fabric, *facts: object) -> list[object]:
    """What a training state holds for beside settings and data: `facts`, the device, precision, processes and threads."""
    precision = type(fabric.strategy.precision).__name__
    return [*facts, str(fabric.device), precision, fabric.world_size, torch.get_num_threads()]


def fit_to_the_end(
    learner: Learner,
    loader: Batches,
    validate: Callable[[Network], Row],
    settings: Training,
    fabric: Fabric,
    state: TrainingState,
    *,
    name: str,
    batch_size: int,
    on_row: Callable[[Row], None],
    figure: str = "val_top1",
) -> tuple[Progress, Speed]:
    """Go on from `state`, or begin; what came of it and the run's speed. The state is removed at the end.

    `batch_size`: samples of a step, for the speed; `figure` of a validation decides which student is kept. Only the first process
    speaks, and writes.
    """
    resume = _resumed(state, fabric)
    first, quiet = resume["progress"]["step"] if resume else 0, not fabric.is_global_zero
    if resume and not quiet:
        print(f"{name}: resuming at step {first} of {settings.steps}")
    with Display(name, settings.steps, first, batch_size, quiet, figure) as display:

        def report(row: Row) -> None:
            if not quiet:
                on_row(row)
                display.row(row)

        more: dict[str, Any] = {"save": (lambda saved: None) if quiet else state.write, "on_step": display.step}
        done = fit(learner, loader, validate, settings, fabric, figure=figure, resume=resume, on_row=report, **more)
    speed = display.speed(fabric.device, fabric.world_size)
    if not quiet:
        state.remove()
    return done, speed


def _resumed(state: TrainingState, fabric: Fabric) -> State | None:
    """What the first process finds to resume from, for all of them; each one's own part of it is told apart when it is restored.

    Where there is nothing, random numbers that a student draws by itself (dropout) become each process's own: a share of the batch each.
    """
    if fabric.world_size == 1:
        return state.read(fabric.device)
    shared = fabric.broadcast(state.read(torch.device("cpu")) if fabric.is_global_zero else None)
    if shared is None and fabric.global_rank:
        torch.manual_seed(torch.initial_seed() + 1_000_003 * fabric.global_rank)
    return shared
