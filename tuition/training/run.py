"""One training run from arrays to files: what training a student and pretraining a teacher have in common."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from lightning_fabric import Fabric

from tuition.errors import UserError
from tuition.files import digest, read_array, read_json
from tuition.inputs.kinds import described, inputs_of, workspace_inputs
from tuition.inputs.protocol import Reading
from tuition.methods.objective import Objective
from tuition.methods.protocol import Context
from tuition.models import tokens_of
from tuition.models.description import ModelDescription
from tuition.models.network import Network
from tuition.models.projected import Projected
from tuition.models.start import started
from tuition.params import Student, StudentTraining, Training
from tuition.targets.truth import known_part, read_truth
from tuition.training.data import TrainingSet, place, place_all
from tuition.training.display import Speed
from tuition.training.loader import Loader
from tuition.training.loop import Learner, Row, make_fabric, validator
from tuition.training.loop import Progress as Trained
from tuition.training.networks import of, shapes
from tuition.training.rest import RestLoader, share_of
from tuition.training.resumable import circumstances, fit_to_the_end
from tuition.training.state import TrainingState, run_digest
from tuition.workspace import Workspace

Split = tuple[np.ndarray, np.ndarray]  # inputs (N, …) and labels (N,)


def read_split(split: str) -> Split:
    """(samples (N, …) as they are stored, labels (N,) int64) of data/<split>/."""
    files = Workspace().split(split)
    return workspace_inputs().read(files.path), read_array(files.labels)


def read_evaluated(split: str, budget: int) -> Split:
    """(samples, labels) of the samples of data/<split>/ that a student of this budget is held against."""
    return known_part(read_split(split)[0], read_truth(Workspace(), split, budget))


def describe(
    arch: str, samples: np.ndarray, taps: Sequence[str] = (), reading: Reading | None = None
) -> ModelDescription:
    """What is needed to build and feed a model of `arch` for the pool's samples (N, …); `taps` name the modules that give its maps.

    `reading`: how it reads texts, of which it has its tokens.
    """
    inputs, facts = workspace_inputs(), read_json(Workspace().split("train").meta)
    reading = reading or Student()
    model = {
        "arch": arch,
        **described(inputs, facts | inputs.facts(samples)),
        **inputs.own(samples, tokens_of(arch, reading.folder), reading),
        "classes": len(facts["classes"]),
        "class_names": facts["classes"],
        "taps": list(taps),
    }
    return cast(ModelDescription, model)


def train(
    name: str,
    model: ModelDescription,
    objective: Objective,
    settings: Training,
    seed: int,
    data: TrainingSet,
    *,
    validation: Split | None = None,
    identity: object = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> tuple[Trained, Speed]:
    """Train the model described by `model` with `objective` on `data`; returns what came of it and the run's speed.

    `validation` (inputs, labels) is data/val where it is None. `identity` joins the arrays and settings in deciding whether a
    training state is this run's. Where the objective gives the student another head, `model` is told.
    """
    torch.manual_seed(seed)
    student = started(model)
    fabric = make_fabric(settings)
    loader, rest = _loaders(data, model, settings, seed, fabric.device)
    context = _context(data, model, settings, seed, student, loader, objective)
    objective.to(fabric.device).setup(context)
    learner = Learner(
        _deployed(student, model, objective, loader, fabric), objective, settings.compile, fabric.world_size
    )
    validation = validation or read_split("val")
    state = _state_of(name, model, settings, seed, identity, data, validation, fabric)
    return fit_to_the_end(
        learner,
        loader,
        _validator(model, validation, fabric),
        settings,
        fabric,
        state,
        name=name,
        batch_size=loader.batch_size + (rest.rows if rest else 0),
        on_row=on_row,
    )


def _validator(model: ModelDescription, validation: Split, fabric: Fabric) -> Callable[[Network], Row]:
    kind = inputs_of(model)
    preprocessing = kind.preprocessing(model).to(fabric.device)
    samples, labels = (place(array, fabric.device) for array in (kind.numbers(validation[0], model), validation[1]))
    return validator(samples, labels, lambda stored: kind.arranged(preprocessing(stored)), processes=fabric.world_size)


def _loaders(
    data: TrainingSet, model: ModelDescription, settings: Training, seed: int, device: torch.device
) -> tuple[Loader, RestLoader | None]:
    """The batches of `data`, which is placed on the device once, and what rides behind them."""
    inputs, rest = inputs_of(model), None
    if data.rest:
        assert isinstance(settings, StudentTraining)
        rows = share_of(settings.batch_size, settings.rest_share)
        kept = {name: place(values, device) for name, values in data.rest.items() if name != "inputs"}
        samples = inputs.place(data.rest["inputs"], device, model, settings)
        rest = RestLoader(samples, kept, model["classes"], rows, seed)
    loader = Loader(
        inputs.place(data.inputs, device, model, settings if data.augment else None),
        place(data.labels, device),
        place_all(data.teacher, device),
        batch_size=settings.batch_size - (rest.rows if rest else 0),
        seed=seed,
        members=None if data.members is None else place(data.members, device).long(),
        weights=None if data.weights is None else torch.from_numpy(data.weights),
        others={name: place_all(answers, device) for name, answers in data.others.items()},
        present=place_all(data.present, device),
    )
    loader.rest = rest.at if rest else None
    return loader, rest


def _context(
    data: TrainingSet,
    model: ModelDescription,
    settings: Training,
    seed: int,
    student: Network,
    loader: Loader,
    objective: Objective,
) -> Context:
    device = loader.inputs.device
    return Context(
        student=shapes(student, model, objective.maps, objective.inside),
        teacher=loader.teacher,
        labels=loader.labels,
        classes=model["classes"],
        steps=settings.steps,
        per_epoch=loader.per_epoch,
        seed=seed,
        inputs=loader.inputs.stored,
        normalise=loader.inputs.normalise,
        make_student=lambda arch=None: started(of(model, arch)),
        student_model=student,
        constants=place_all(data.constants, device),
        mixed=place_all(data.mixed, device),
        others=loader.others,
        present=loader.present,
    )


def _deployed(
    student: Network, model: ModelDescription, objective: Objective, loader: Loader, fabric: Fabric
) -> Network:
    """The student as the objective has it, for as many processes as there are; `model` is told of another head.

    Raises UserError where a batch has fewer samples than there are processes.
    """
    student, world = objective.wrap(student), fabric.world_size
    least = loader.batch_size  # samples of a pass through the student
    if loader.groups and loader.groups.parts and getattr(objective.method, "passes", "together") == "apart":
        least = min(len(part) for part in loader.groups.parts)
    if least < world:
        raise UserError(
            f"params.yaml: devices: found {world} processes, but a batch has {least} samples, as there are no more: each takes "
            f"a share of every batch; valid: 1 to {least}"
        )
    if world > 1:
        from tuition.training.batchnorm import synchronised

        student = cast(Network, synchronised(student, fabric.device))
    if isinstance(student, Projected):
        model["projector"] = {"width": student.get_classifier().in_features}
    return student


def _state_of(
    name: str,
    model: ModelDescription,
    settings: Training,
    seed: int,
    identity: object,
    data: TrainingSet,
    validation: Split,
    fabric: Fabric,
) -> TrainingState:
    """The training state of this very run: of these settings, arrays, devices and this code."""
    arrays = data.arrays()
    where = circumstances(fabric, list(arrays), data.augment)
    content = digest(*arrays.values(), *validation)
    return TrainingState(name, run_digest(model, vars(settings), seed, identity, where, content))
