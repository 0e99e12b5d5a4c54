"""One training run from arrays to files: what training a student and pretraining a teacher have in common."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from tuition.errors import UserError
from tuition.files import digest, read_array, read_json
from tuition.methods.objective import Objective
from tuition.methods.protocol import Context
from tuition.models.description import ModelDescription
from tuition.models.network import Network
from tuition.models.projected import Projected
from tuition.training.loader import Loader
from tuition.training.loop import Learner, Row, fit, make_fabric, validator
from tuition.training.loop import Progress as Trained
from tuition.training.networks import make, of, shapes
from tuition.training.state import Checkpoint, run_digest


def read_split(split: str) -> tuple[np.ndarray, np.ndarray]:
    """(images (N, C, H, W) uint8, labels (N,) int64) of data/<split>/."""
    folder = Path("data") / split
    return read_array(folder / "images.npy"), read_array(folder / "labels.npy")


def describe(arch: str, images: np.ndarray, taps: Sequence[str] = ()) -> ModelDescription:
    """What is needed to build and feed a model of `arch` for images (N, C, H, W); `taps` name the modules that give its maps."""
    facts = read_json(Path("data/train/meta.json"))
    return {
        "arch": arch,
        "channels": images.shape[1],
        "height": images.shape[2],
        "width": images.shape[3],
        "classes": len(facts["classes"]),
        "class_names": facts["classes"],
        "mean": facts["mean"],
        "std": facts["std"],
        "taps": list(taps),
    }


def train(
    name: str,
    model: ModelDescription,
    objective: Objective,
    settings: Any,
    seed: int,
    *,
    images: np.ndarray,
    labels: np.ndarray,
    teacher: dict[str, np.ndarray],
    augment: bool = True,
    members: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    constants: dict[str, np.ndarray] | None = None,
    mixed: dict[str, np.ndarray] | None = None,
    others: dict[str, dict[str, np.ndarray]] | None = None,
    present: dict[str, np.ndarray] | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    identity: Any = None,
    on_row: Any = lambda row: None,
) -> tuple[Trained, dict[str, Any]]:
    """Train the model described by `model` with `objective`; returns what came of it and the run's speed.

    Arrays as in `Loader` and `Context`; without `augment` images are seen as they are, neither cropped nor flipped at random.
    `validation` (images, labels) is data/val where it is None. `identity` joins the arrays and settings in deciding whether a
    checkpoint is this run's. Where the objective gives the student another head, `model` is told.
    """
    torch.manual_seed(seed)
    student = make(model)
    fabric = make_fabric(settings)

    def place(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(fabric.device)

    def place_all(arrays: dict[str, np.ndarray] | None) -> dict[str, Tensor]:
        return {key: place(values) for key, values in (arrays or {}).items()}

    loader = Loader(
        place(images),
        place(labels),
        place_all(teacher),
        mean=model["mean"],
        std=model["std"],
        batch_size=settings.batch_size,
        seed=seed,
        crop=settings.crop if augment else 0,
        flip=settings.flip and augment,
        members=None if members is None else place(members).long(),
        weights=None if weights is None else torch.from_numpy(weights),
        others={key: place_all(said) for key, said in (others or {}).items()},
        present=place_all(present),
    )
    mean, std = (torch.tensor(model[key], device=fabric.device)[:, None, None] for key in ("mean", "std"))
    objective.to(fabric.device).setup(
        Context(
            student=shapes(student, model, objective.maps),
            teacher=loader.teacher,
            labels=loader.labels,
            classes=model["classes"],
            steps=settings.steps,
            per_epoch=loader.per_epoch,
            seed=seed,
            inputs=place(images),
            normalise=lambda pixels: (pixels.float() / 255 - mean) / std,
            make_student=lambda arch=None: make(of(model, arch)),
            student_model=student,
            constants=place_all(constants),
            mixed=place_all(mixed),
            others=loader.others,
            present=loader.present,
        )
    )
    student = objective.wrap(student)
    world, first_one = fabric.world_size, fabric.is_global_zero
    if loader.batch_size < world:
        raise UserError(
            f"params.yaml: devices: found {world} processes, but a batch has {loader.batch_size} samples, as there are no more: each takes "
            f"a share of every batch; valid: 1 to {loader.batch_size}"
        )
    if world > 1:
        from tuition.training.batchnorm import synchronised

        student = cast(Network, synchronised(student, fabric.device))
    if isinstance(student, Projected):
        model["projector"] = {"width": student.get_classifier().in_features}
    learner = Learner(student, objective, settings.compile, world)
    validation = validation or read_split("val")
    val_images, val_labels = (place(array) for array in validation)
    more = [*(constants or {}).values(), *(mixed or {}).values(), *(present or {}).values()]
    more += [values for said in (others or {}).values() for values in said.values()]
    arrays = [images, labels, *validation, *teacher.values(), *(a for a in (members, weights) if a is not None), *more]
    precision = type(fabric.strategy.precision).__name__
    where = [list(teacher), list(others or {}), augment, str(fabric.device), precision, world]
    checkpoint = Checkpoint(
        name, run_digest(model, vars(settings), seed, identity, where, digest(*arrays), torch.get_num_threads())
    )
    resume = _agreed(checkpoint, fabric) if world > 1 else checkpoint.load(fabric.device)
    first = resume["progress"]["step"] if resume else 0
    if resume and first_one:
        print(f"{name}: resuming at step {first} of {settings.steps}")

    clock = {"begin": 0.0}

    def on_step(step: int) -> None:
        if step == first + 1:
            clock["begin"], clock["startup"] = time.perf_counter(), _since_start()
        shown.update(task, completed=step)

    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), _Rate(loader.batch_size), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal or not first_one) as shown:
        task = shown.add_task(name, total=settings.steps, completed=first)

        def save(state: dict[str, Any]) -> None:
            if first_one:
                checkpoint.save(state)

        def report(row: Row) -> None:
            if not first_one:
                return
            on_row(row)
            if not console.is_terminal:  # a log: one line a validation
                print(
                    f"{name}: step {row['step']:.0f}/{settings.steps} loss {row['loss']:.4f} val_top1 {row['val_top1']:.4f}",
                    flush=True,
                )

        validate = validator(val_images, val_labels, model["mean"], model["std"], processes=world)
        done = fit(
            learner,
            loader,
            validate,
            settings,
            fabric,
            resume=resume,
            save=save,
            on_row=report,
            on_step=on_step,
        )
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - clock["begin"]
    if first_one:
        checkpoint.remove()
    steps = max(1, settings.steps - first - 1)  # the first step warms up and is not timed
    return done, {
        "device": torch.cuda.get_device_name() if fabric.device.type == "cuda" else "cpu",
        "seconds": round(seconds, 3),
        "startup_seconds": round(clock.get("startup", 0.0), 3),
        "steps_per_second": round(steps / seconds, 2),
        "images_per_second": round(steps * loader.batch_size / seconds, 1),
        "batch_size": loader.batch_size,
        **({"processes": world} if world > 1 else {}),
    }


def _agreed(checkpoint: Checkpoint, fabric: Any) -> dict[str, Any] | None:
    """What the first process finds to resume from, for all of them; each one's own part of it is told apart when it is restored.

    Where there is nothing, random numbers that a student draws by itself (dropout) become each process's own: a share of the images each.
    """
    found = fabric.broadcast(checkpoint.load(torch.device("cpu")) if fabric.is_global_zero else None)
    if found is None and fabric.global_rank:
        torch.manual_seed(torch.initial_seed() + 1_000_003 * fabric.global_rank)
    return found


def _since_start() -> float:
    """Seconds since this process was started."""
    return time.time() - psutil.Process().create_time()


class _Rate(TextColumn):
    """Images a second, from the bar's own estimate of steps a second."""

    def __init__(self, batch_size: int):
        super().__init__("")
        self.batch_size = batch_size

    def render(self, task: Any) -> Any:
        from rich.text import Text

        return Text(f"{task.speed * self.batch_size:,.0f} images/s" if task.speed else "")
