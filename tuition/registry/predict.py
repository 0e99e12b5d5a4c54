"""A student asked about image files of any kind and size, or about texts: a registered one, or one that lies in students/<cell>."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from PIL import Image

from tuition.errors import UserError
from tuition.inputs.images import files as images
from tuition.inputs.images.tuition_images import Depths
from tuition.inputs.kinds import IMPLIED, INPUTS, inputs_of
from tuition.inputs.protocol import Samples
from tuition.origins import objects
from tuition.registry.registry import parse_model, resolve_version
from tuition.registry.takes import what_it_takes
from tuition.sources.folder import THREADS
from tuition.sources.texts import Row
from tuition.tracking.store import connect_store

BATCH = 1000  # samples that are held and asked at a time


@dataclass(frozen=True)
class Classifier:
    """A student: which one it is, what it takes, and what it says."""

    name: str
    kind: str  # of inputs
    shape: tuple[int, ...]  # of images (C, H, W), of texts ()
    classes: list[str]
    answer: Callable[[Samples], np.ndarray]  # stored samples (n, …) -> class probabilities (n, classes)


class Prediction(NamedTuple):
    file: str  # or the text
    probabilities: np.ndarray | None  # (classes,); None where the file could not be read
    reason: str  # why it could not be


def registered_student(uri: str) -> Classifier:
    """The student of `models:/<name>@<alias>` or `models:/<name>/<version>`.

    Raises UserError where there is none, and where it does not say what it takes.
    """
    name, which = parse_model(uri)
    store = connect_store(name, create=False)
    version = resolve_version(store, name, which)
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
    takes = what_it_takes(model.metadata)
    if takes is None or takes.kind not in INPUTS or (takes.kind == IMPLIED and len(takes.shape) != 3):
        raise UserError(f"{uri}: it does not say which samples it takes and what its classes are called")
    if not takes.classes:
        raise UserError(
            f"{uri}: a student of retrieval, which names no class; `tuition search` asks it, from its folder in students/"
        )
    return Classifier(
        f"{name} version {version.version}",
        takes.kind,
        takes.shape,
        takes.classes,
        lambda samples: np.asarray(model.predict(samples)),
    )


def student_of_folder(folder: Path) -> Classifier:
    """The student in students/<cell>. Raises UserError where its files are missing or damaged."""
    import torch

    from tuition.models import load_student
    from tuition.registry.model import FromStored

    student, about = load_student(folder)
    if "embedding" in about:
        raise UserError(
            f'{folder}: a student of retrieval, which names no class; `tuition search {folder} "a text"` asks it'
        )
    inputs = inputs_of(about)
    whole = FromStored(student, inputs.preprocessing(about)).eval()

    def answer(samples: Samples) -> np.ndarray:
        with torch.inference_mode():
            return whole(torch.from_numpy(inputs.numbers(samples, about))).numpy()

    return Classifier(
        str(folder), inputs.NAME, inputs.shape(about), [str(name) for name in about["class_names"]], answer
    )


def classified(student: Classifier, texts: Iterable[Row]) -> Iterator[Prediction]:
    """What a student of texts says of each, in order; of those that hold no text, why."""
    rows = iter(texts)
    while some := list(itertools.islice(rows, BATCH)):
        whole = [row.text for row in some if not row.reason]
        answers = iter(student.answer(objects(whole)) if whole else ())
        for row in some:
            yield Prediction(row.text, None if row.reason else next(answers), row.reason)


@dataclass
class Predictions:
    """What a student says of image i, opened by `open_one(i)`, for all `names` in order; read as `prepare` reads files."""

    student: Classifier
    names: Sequence[str]
    open_one: Callable[[int], Image.Image]
    where: str  # in messages
    depths: Depths = field(default_factory=Depths)

    def __iter__(self) -> Iterator[Prediction]:
        channels, height, width = cast(tuple[int, int, int], self.student.shape)
        for start in range(0, len(self.names), BATCH):
            some = self.names[start : start + BATCH]
            pixels, kept, rejected, _ = images.read(
                some, partial(self._open, start), channels, (width, height), self.where, THREADS, self.depths
            )
            reasons = iter(rejected)
            answers = iter(self.student.answer(pixels) if len(kept) else ())
            readable = set(kept.tolist())
            for index, name in enumerate(some):
                if index in readable:
                    yield Prediction(name, next(answers), "")
                else:
                    yield Prediction(name, None, next(reasons)[1])

    def _open(self, start: int, index: int) -> Image.Image:
        return self.open_one(start + index)

    def warnings(self) -> list[str]:
        """What is wrong, by the look of it, with the images that were read."""
        return self.depths.warnings()
