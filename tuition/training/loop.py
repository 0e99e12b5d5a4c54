"""The training loop: knows a student, a method and batches by step; nothing of files' places, teachers or tracking.

Lightning Fabric carries device, precision and processes. No value is read from the device between two validations.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel as DDP

from tuition.methods.objective import Objective
from tuition.methods.protocol import Batch, Rest
from tuition.models import signals
from tuition.models.network import Network
from tuition.params import Training
from tuition.training import processes, sharing
from tuition.training.loader import Batches
from tuition.training.rest import behind, beside, term
from tuition.training.state import State

Row = dict[str, float]


class Learner(nn.Module):
    """The student and its objective as one module, so that a method's heads train, move and resume with the student."""

    def __init__(self, student: Network, objective: Objective, compile: bool = False, processes: int = 1):
        super().__init__()
        self.student: Network = student
        self.objective, self.processes = objective, processes
        self.signals = torch.compile(signals) if compile else signals

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        batch = self.objective.augment(batch)
        parts = self.objective.parts(batch)
        if parts is None:
            given, rest = self._look_behind(batch.inputs, batch.rest)
        else:
            first, rest = self._look_behind(batch.inputs[parts[0]], batch.rest)
            second = self._look(batch.inputs[parts[1]])
            order = torch.cat(parts).argsort()
            given = first | {name: torch.cat([first[name], second[name]])[order] for name in second}
        return beside(self.objective(given, batch), rest, len(batch.labels), batch.rest)

    def _look_behind(self, inputs: Tensor, rest: Rest | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the student says of inputs, and the term of the rest, which is in the same pass; a method that reads the rest has its
        logits, and no term is added."""
        if rest is None:
            return self._look(inputs), {}
        given = self._look(behind(inputs, rest.inputs))
        logits = given["logits"][len(inputs) :]
        given = {name: value[: len(inputs)] for name, value in given.items()}
        if self.objective.reads_rest:
            return given | {"rest": logits}, {}
        return given, {"rest": term(logits, rest)}

    def _look(self, inputs: Tensor) -> dict[str, Tensor]:
        """What the student says of inputs (B, …) in one pass, as float32."""
        own = inputs if self.processes == 1 else sharing.part(inputs)
        given = self.signals(self.student, own, self.objective.maps, self.objective.inside)
        given = {name: value.float() for name, value in given.items()}
        return given if self.processes == 1 else sharing.whole(given, len(inputs))


@dataclass
class Progress:
    """Where a training run stands: everything that a resumed run needs beside the modules and the optimiser."""

    step: int = 0
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    best_score: tuple[float, float] = (-1.0, -math.inf)  # (top-1 or nDCG@10, −loss) on validation data
    history: list[Row] = field(default_factory=list)


def make_fabric(settings: Training) -> Fabric:
    """Fabric for `params.Training`, with the other processes where there are some; precision `auto` is bf16-mixed on a GPU that has it,
    else 32-true."""
    precision = settings.precision
    if precision == "auto":
        cuda = settings.accelerator in ("auto", "cuda") and torch.cuda.is_available()
        precision = "bf16-mixed" if cuda and torch.cuda.is_bf16_supported() else "32-true"
    if not processes.started():
        return Fabric(accelerator=settings.accelerator, devices=1, precision=precision)
    from lightning_fabric.plugins.environments import TorchElasticEnvironment
    from lightning_fabric.strategies import DDPStrategy

    # A method need not reach every weight in every step; buffers are the same in all processes, as they see the same batch.
    setting = "forward_sync_buffers" if "forward_sync_buffers" in signature(DDP).parameters else "broadcast_buffers"
    buffers: dict[str, Any] = {setting: False}  # the newer name
    strategy = DDPStrategy(find_unused_parameters=True, **buffers)
    kind = "cuda" if settings.accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    fabric = Fabric(
        accelerator=kind,
        strategy=strategy,
        devices=settings.devices,
        num_nodes=processes.nodes(),
        precision=precision,
        plugins=[TorchElasticEnvironment()],
    )
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it says at length that processes were started
    warnings.filterwarnings("ignore", "Grad strides do not match")  # of 1×1 convolutions, whose strides mean nothing
    fabric.launch()
    return fabric


def rate(settings: Training, step: int) -> float:
    """The learning rate of `step`: linear warm-up, then cosine to zero, steps by `gamma`, or constant."""
    if step < settings.warmup:
        return settings.lr * (step + 1) / settings.warmup
    if settings.schedule == "step":
        return settings.lr * settings.gamma ** sum(step >= milestone for milestone in settings.milestones)
    if settings.schedule == "cosine":
        done = (step - settings.warmup) / max(1, settings.steps - settings.warmup)
        return settings.lr * 0.5 * (1 + math.cos(math.pi * done))
    return settings.lr


def make_optimizer(learner: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """SGD or AdamW over everything that trains, fused."""
    trained = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    shared: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(trained, **shared)
    return torch.optim.SGD(trained, momentum=settings.momentum, nesterov=settings.nesterov, **shared)


def fit(
    learner: Learner,
    loader: Batches,
    validate: Callable[[Network], Row],
    settings: Training,
    fabric: Fabric,
    *,
    figure: str = "val_top1",
    resume: State | None = None,
    save: Callable[[State], None] = lambda state: None,
    on_row: Callable[[Row], None] = lambda row: None,
    on_step: Callable[[int], None] = lambda step: None,
) -> Progress:
    """Train for `settings.steps` optimiser steps; the student of the best validation is in `Progress.best`.

    `validate(student)` gives `figure`, which counts, and `val_loss`. `save` is given a state from which `resume` goes on to the same bits.
    """
    learner.student.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(learner, settings)
    module, optimizer = fabric.setup(learner, optimizer)
    progress = _restore(learner, optimizer, resume, fabric) if resume else Progress()
    means = _Means()
    learner.train()
    for step in range(progress.step, settings.steps):
        lr = rate(settings, step)
        means.add(_step(module, optimizer, loader.batch(step), lr, fabric, first=step == 0))
        progress.step = step + 1
        last = progress.step == settings.steps
        validated = last or progress.step % settings.validate_every == 0
        if validated:
            row = {"step": float(progress.step), **means.taken(), "lr": lr, **validate(learner.student)}
            learner.train()
            _keep_best(progress, row, (row[figure], -row["val_loss"]), learner.student, keep=fabric.is_global_zero)
            progress.history.append(row)
            on_row(row)
        # Saved where the running means are empty, so that they need no saving.
        if validated and not last and progress.step % _saves(settings) == 0:
            save(_state(learner, optimizer, progress, fabric))
        on_step(progress.step)
    return progress


def _step(
    module: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, lr: float, fabric: Fabric, *, first: bool
) -> dict[str, Tensor]:
    """One optimiser step; returns the loss and its terms, on the device."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    terms: dict[str, Tensor] = module(batch)
    loss = torch.stack(list(terms.values())).sum()
    fabric.backward(loss)
    if first:
        _fill(optimizer)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}


class _Means:
    """Means of the loss and its terms since the last validation, summed on the device."""

    def __init__(self) -> None:
        self.totals: dict[str, Tensor] = {}
        self.count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self.totals[name] = value if name not in self.totals else self.totals[name] + value
        self.count += 1

    def taken(self) -> Row:
        """The means, after which there are none."""
        means = {name: float(total) / self.count for name, total in self.totals.items()}
        self.totals, self.count = {}, 0
        return means


def _fill(optimizer: torch.optim.Optimizer) -> None:
    """Zero gradients for what the first step's loss does not reach: fused SGD cannot take up a parameter later on.

    Afterwards what gets no gradient stands still: no momentum and no decay moves it.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)


def _saves(settings: Training) -> int:
    """Checkpoints fall on validations: `checkpoint_every`, rounded up to a multiple of `validate_every`."""
    return math.ceil(settings.checkpoint_every / settings.validate_every) * settings.validate_every


def _keep_best(progress: Progress, row: Row, score: tuple[float, float], student: Network, keep: bool) -> None:
    """Note the student's score where it is the best; one process alone needs to `keep` its weights."""
    if progress.history and not score > progress.best_score:
        return
    progress.best_score, progress.best_step = score, int(row["step"])
    if keep:
        progress.best = {name: value.detach().to("cpu", copy=True) for name, value in student.state_dict().items()}


def _state(learner: Learner, optimizer: torch.optim.Optimizer, progress: Progress, fabric: Fabric) -> State:
    random = {"cpu": torch.get_rng_state()}  # of what a student may draw itself, such as dropout
    if torch.cuda.is_available():
        random["cuda"] = torch.cuda.get_rng_state()
    if fabric.world_size > 1:
        sharing.make_even(learner)
        random = {key: sharing.every_state(state, fabric.device) for key, state in random.items()}
    return {
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": vars(progress),
        "random": random,
        "precision": fabric.strategy.precision.state_dict(),  # of 16-mixed, which scales the loss
    }


def _restore(learner: Learner, optimizer: torch.optim.Optimizer, state: State, fabric: Fabric) -> Progress:
    learner.load_state_dict(state["learner"])
    optimizer.load_state_dict(state["optimizer"])
    fabric.strategy.precision.load_state_dict(state["precision"])
    random = state["random"]
    if fabric.world_size > 1:
        # Copies, as PyTorch would take a row of a tensor for the whole.
        random = {key: states[fabric.global_rank].clone() for key, states in random.items()}
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return Progress(**state["progress"])


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def validator(
    inputs: Tensor, labels: Tensor, prepare: Callable[[Tensor], Tensor], size: int = 500, processes: int = 1
) -> Callable[[Network], Row]:
    """A function that gives a student's top-1 and cross-entropy on these inputs (N, …) as stored, labels (N,), on their device.

    `prepare` makes of some of them what the student takes. Where there are several `processes`, each one looks at its share of the slices
    of `size`, and all have the sums of all, in one order.
    """

    @torch.inference_mode()
    def validate(student: Network) -> Row:
        student.eval()
        parts = list(batches(len(inputs), size))
        sums = torch.zeros(len(parts), 2, device=inputs.device)  # hits, loss
        for place, part in sharing.every_nth(parts) if processes > 1 else enumerate(parts):
            logits = student(prepare(inputs[part])).float()
            sums[place, 0] = (logits.argmax(1) == labels[part]).sum()
            sums[place, 1] = nn.functional.cross_entropy(logits, labels[part], reduction="sum")
        if processes > 1:
            sharing.add(sums)
        total = torch.zeros(2, device=inputs.device)
        for one in sums:
            total += one
        hits, loss = total.tolist()
        return {"val_loss": loss / len(inputs), "val_top1": hits / len(inputs)}

    return validate
