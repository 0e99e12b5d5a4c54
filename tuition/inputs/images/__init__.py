"""Images: uint8 pixels (C, H, W), all of a study of one shape. What `tuition.inputs.protocol.Inputs` lists; no torch until it is needed."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, write_array
from tuition.inputs.images import tuition_images
from tuition.inputs.images.files import content_id, png, resized
from tuition.inputs.images.files import statistics as mean_and_std
from tuition.inputs.images.pool import features, mix
from tuition.inputs.images.sent import as_sent, chat_part, check_chat, check_sent, local_facts, sent
from tuition.inputs.images.views import replay
from tuition.inputs.protocol import Augmentation, Facts, Reading, Samples
from tuition.workspace import Split

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from tuition.inputs.images.batch import PlacedImages

__all__ = [
    "AXES",
    "DESCRIBED",
    "DYNAMIC",
    "EXPORTED",
    "NAME",
    "REQUIRES",
    "SERVED",
    "SUFFIX",
    "arranged",
    "as_sent",
    "chat_part",
    "check_chat",
    "check_sent",
    "content_id",
    "empty",
    "facts",
    "features",
    "handed",
    "local_facts",
    "mix",
    "numbers",
    "own",
    "place",
    "preprocessing",
    "read",
    "receiver",
    "replay",
    "resized",
    "sent",
    "shape",
    "shown",
    "size",
    "statistics",
    "to_file",
    "view_size",
    "warnings",
    "write",
]

NAME = "images"
AXES = "channels, height, width"
DESCRIBED: tuple[str, ...] = ("channels", "height", "width", "mean", "std")
DYNAMIC: tuple[int, ...] = (0,)
SERVED = "images of any size: 0..255 or floats 0..1, (N, C, H, W) or (N, H, W, C); or image files, as bytes or base64"
REQUIRES: tuple[str, ...] = ("pillow",)
SUFFIX = ".png"
EXPORTED = "images"
MOST_BYTES = 60_000  # of a picture in a report; larger ones are left out, so that the page stays small
DIM = 32  # of 255


def write(folder: Path, samples: Samples) -> None:
    write_array(Split(folder).images, samples)


def read(folder: Path) -> Samples:
    return read_array(Split(folder).images)


def to_file(sample: np.ndarray) -> bytes:
    """A PNG, which keeps every pixel. Raises UserError for an image that is neither grey nor RGB."""
    if len(sample) not in (1, 3):
        raise UserError(f"data: images have {len(sample)} channels, additions are kept as PNG files; valid: 1 and 3")
    return png(sample)


def facts(samples: Samples) -> dict[str, Any]:
    """channels, height and width; the latter in pixels."""
    channels, height, width = samples.shape[1:]
    return {"channels": channels, "height": height, "width": width}


def statistics(samples: Samples) -> dict[str, Any]:
    """mean and std of a channel, of pixels scaled to 0..1."""
    mean, std = mean_and_std(samples)
    return {"mean": mean, "std": std}


def warnings(splits: Sequence[Samples]) -> list[str]:
    """Where no pixel is bright, something else than 255 was meant to be white."""
    brightest = max(int(samples.max(initial=0)) for samples in splits)
    if brightest >= DIM:
        return []
    return [
        f"no pixel is brighter than {brightest}, where 255 is white; where {brightest} is meant to be white, scale them to 0..255"
    ]


def shape(facts: Facts) -> tuple[int, ...]:
    """(C, H, W)."""
    return facts["channels"], facts["height"], facts["width"]


def size(facts: Facts, times: str = "x") -> str:
    """Channels, height and width."""
    return times.join(map(str, shape(facts)))


def empty(count: int, facts: Facts) -> Samples:
    """Black images."""
    return np.zeros((count, *shape(facts)), dtype=np.uint8)


def view_size(facts: Facts) -> tuple[int, int]:
    return facts["height"], facts["width"]


def shown(sample: np.ndarray) -> dict[str, str]:
    """The picture; of an image that is neither grey nor RGB, its first channel."""
    picture = png(sample if len(sample) in (1, 3) else sample[:1])
    return {"picture": base64.b64encode(picture).decode() if len(picture) <= MOST_BYTES else ""}


def handed(samples: Samples) -> np.ndarray:
    """As they are."""
    return samples


def own(samples: Samples, tokens: str, settings: Reading) -> dict[str, Any]:
    """Nothing: pixels are read as they are."""
    return {}


def numbers(samples: Samples, facts: Facts) -> np.ndarray:
    """Pixels as they are."""
    return samples


def place(samples: Samples, device: torch.device, facts: Facts, augmentation: Augmentation | None) -> PlacedImages:
    """Cropped by up to `crop` pixels each way and flipped by chance, where `augmentation` says so."""
    import torch

    from tuition.inputs.images.batch import PlacedImages

    crop, flip = (augmentation.crop, augmentation.flip) if augmentation else (0, False)
    held = torch.from_numpy(np.array(samples)).to(device)
    return PlacedImages(held, mean=facts["mean"], std=facts["std"], crop=crop, flip=flip)


def receiver() -> Path:
    return Path(tuition_images.__file__)


def preprocessing(facts: Facts) -> nn.Module:
    """uint8 (B, C, H, W) → float32 (B, C, h, w), normalised."""
    from tuition.inputs.images.preprocess import Normalise

    return Normalise(facts["mean"], facts["std"], facts.get("resize"))


def arranged(inputs: Tensor) -> Tensor:
    """Channels last."""
    import torch

    return inputs.to(memory_format=torch.channels_last)
