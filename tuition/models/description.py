"""What is needed to build a model and to feed it, as `student.json` and the training have it. Imports no torch."""

from typing import NotRequired, TypedDict


class Projector(TypedDict):
    """The projector of a student that ends in the teacher's classifier (`tuition/models/projected.py`)."""

    width: int  # channels


class NetworkDescription(TypedDict):
    """What decides the network."""

    arch: str
    taps: list[str]  # modules that give its maps
    classes: int
    channels: int
    height: int  # pixels
    width: int


class ModelDescription(NetworkDescription):
    """And what its inputs and its answers mean."""

    class_names: list[str]
    mean: list[float]  # a channel, of pixels scaled to 0..1
    std: list[float]
    projector: NotRequired[Projector | None]
