"""What is needed to build a model and to feed it, as `student.json` and the training have it. Imports no torch.

What says what its samples are is its kind of inputs' own (`tuition.inputs.kinds.described`): the keys below are those of images and texts.
"""

from typing import Any, NotRequired, TypedDict


class Projector(TypedDict):
    """The projector of a student that ends in the teacher's classifier (`tuition/models/projected.py`)."""

    width: int  # channels


class Start(TypedDict):
    """The encoder of which a student of texts begins."""

    folder: str
    sha256: str  # of its weights
    config: NotRequired[dict[str, Any]]  # of its network, where that is the student's own


class NetworkDescription(TypedDict):
    """What decides the network."""

    arch: str
    taps: list[str]  # modules that give its maps
    classes: int
    inputs: NotRequired[str]  # the kind of its samples; images, where it is not named
    channels: NotRequired[int]
    height: NotRequired[int]  # pixels
    width: NotRequired[int]
    tokens: NotRequired[str]  # bpe | hashed | encoder | pieces
    vocabulary: NotRequired[int]
    max_tokens: NotRequired[int]  # of a text
    tokenizer: NotRequired[str]  # the JSON of its file, which lies beside `student.json`
    encoder: NotRequired[Start]
    causal: NotRequired[dict[str, Any]]  # of a language model: the config of the library transformers
    embedding: NotRequired[int]  # of a student of retrieval, which ends in one and names no class


class ModelDescription(NetworkDescription):
    """And what its inputs and its answers mean."""

    class_names: list[str]
    mean: NotRequired[list[float]]  # a channel, of pixels scaled to 0..1
    std: NotRequired[list[float]]
    projector: NotRequired[Projector | None]
