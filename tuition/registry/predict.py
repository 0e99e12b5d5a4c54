"""A student asked about image files of any kind and size, in parts: a registered one, or one that lies in students/<cell>."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from PIL import Image

from tuition.errors import UserError
from tuition.inputs.images import files as images
from tuition.inputs.images.tuition_images import Depths
from tuition.inputs.kinds import IMPLIED, inputs_of
from tuition.registry.registry import parse_model, resolve_version
from tuition.registry.takes import what_it_takes
from tuition.sources.folder import THREADS
from tuition.tracking.store import connect_store

BATCH = 1000  # images that are held and asked at a time


@dataclass(frozen=True)
class Classifier:
    """A student of images: which one it is, what it takes, and what it says."""

    name: str
    shape: tuple[int, int, int]  # (C, H, W)
    classes: list[str]
    answer: Callable[[np.ndarray], np.ndarray]  # uint8 images (n, C, H, W) -> class probabilities (n, classes)


class Prediction(NamedTuple):
    file: str
    probabilities: np.ndarray | None  # (classes,); None where the file could not be read
    reason: str  # why it could not be


def registered_student(uri: str) -> Classifier:
    """The student of `models:/<name>@<alias>` or `models:/<name>/<version>`.

    Raises UserError where there is none, and where it does not say that it takes images.
    """
    name, which = parse_model(uri)
    store = connect_store(name, create=False)
    version = resolve_version(store, name, which)
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
    takes = what_it_takes(model.metadata)
    if takes is None or takes.kind != IMPLIED or len(takes.shape) != 3:
        raise UserError(f"{uri}: it does not say which images it takes and what its classes are called")
    shape = cast(tuple[int, int, int], takes.shape)
    return Classifier(
        f"{name} version {version.version}", shape, takes.classes, lambda pixels: np.asarray(model.predict(pixels))
    )


def student_of_folder(folder: Path) -> Classifier:
    """The student in students/<cell>. Raises UserError where its files are missing or damaged, or it takes no images."""
    import torch

    from tuition.models import load_student
    from tuition.registry.model import FromStored

    student, about = load_student(folder)
    if about.get("inputs", IMPLIED) != IMPLIED:
        raise UserError(f"{folder}: it takes {about['inputs']}, expected a student of images")
    whole = FromStored(student, inputs_of(about).preprocessing(about)).eval()

    def answer(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return whole(torch.from_numpy(pixels)).numpy()

    shape = about["channels"], about["height"], about["width"]
    return Classifier(str(folder), shape, [str(name) for name in about["class_names"]], answer)


@dataclass
class Predictions:
    """What a student says of image i, opened by `open_one(i)`, for all `names` in order; read as `prepare` reads files."""

    student: Classifier
    names: Sequence[str]
    open_one: Callable[[int], Image.Image]
    where: str  # in messages
    depths: Depths = field(default_factory=Depths)

    def __iter__(self) -> Iterator[Prediction]:
        channels, height, width = self.student.shape
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
