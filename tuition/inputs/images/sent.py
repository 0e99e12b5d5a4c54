"""From stored pixels to what a teacher is sent: resized and normalised as `teacher.resize`, `teacher.mean` and `teacher.std` say."""

import base64
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.inputs.images.files import png
from tuition.inputs.protocol import Facts, Preprocessing

BEGINNINGS = {b"\x89PNG": "png", b"\xff\xd8": "jpeg", b"GIF8": "gif"}
CHANNELS = (1, 3, 4)  # of a picture: grey, RGB, RGBA


def check_sent(settings: Preprocessing, facts: Facts) -> None:
    """Raises UserError where teacher.mean or teacher.std has not one value, or one for each channel of the data."""
    _check_channels({"mean": settings.mean, "std": settings.std}, facts["channels"])


def as_sent(settings: Preprocessing, facts: Facts) -> dict[str, Any]:
    """channels, height and width of the images that are sent."""
    side = settings.resize
    return {
        "channels": facts["channels"],
        "height": side or facts["height"],
        "width": side or facts["width"],
    }


def local_facts(settings: Preprocessing, made: Facts, facts: Facts) -> dict[str, Any]:
    """mean, std and resize."""
    found: dict[str, list[float] | None] = {
        "mean": list(settings.mean or made.get("mean") or facts["mean"]),
        "std": list(settings.std or made.get("std") or facts["std"]),
    }
    _check_channels(found, facts["channels"])
    return {**found, "resize": settings.resize}


def sent(samples: np.ndarray, settings: Preprocessing) -> np.ndarray:
    """images (B, C, H, W) uint8 -> (B, C, h, w): uint8 where neither mean nor std is set, else float32 (x / 255 - mean) / std.

    `settings` has `mean`, `std` (None, or a value for each channel or for all; one of them alone leaves the other at 0 or 1) and
    `resize` (None or pixels a side; bicubic, antialiased and clamped as for a local checkpoint, then rounded where uint8 goes
    out). Raises UserError as `check_sent` does.
    """
    plain = settings.mean is None and settings.std is None
    if settings.resize is None or tuple(samples.shape[-2:]) == (settings.resize, settings.resize):
        if plain:
            return samples
        scaled = samples.astype(np.float32) / np.float32(255)
    else:
        scaled = _resized(samples, settings.resize)
        if plain:
            return np.rint(scaled * 255).astype(np.uint8)
    check_sent(settings, {"channels": samples.shape[1]})
    return (scaled - _per_channel(settings.mean, 0.0)) / _per_channel(settings.std, 1.0)


def chat_part(sample: np.ndarray | bytes, settings: Preprocessing, detail: str | None) -> dict[str, Any]:
    """The image in a data URL: pixels as a PNG, the bytes of a file as they are."""
    content = sample if isinstance(sample, bytes) else png(sent(sample[None], settings)[0])
    picture = {"url": f"data:image/{_kind(content)};base64,{base64.b64encode(content).decode()}"}
    return {"type": "image_url", "image_url": picture | ({"detail": detail} if detail else {})}


def _kind(content: bytes) -> str:
    """The kind of an image file, by how it begins."""
    return next((kind for begin, kind in BEGINNINGS.items() if content.startswith(begin)), "webp")


def check_chat(facts: Facts) -> None:
    if facts["channels"] not in CHANNELS:
        raise UserError(f"data.channels: found {facts['channels']}; a picture has {', '.join(map(str, CHANNELS))}")


def _check_channels(given: dict[str, list[float] | None], channels: int) -> None:
    for key, values in given.items():
        if values is not None and len(values) not in (1, channels):
            raise UserError(f"teacher.{key}: found {len(values)} values, the data has {channels} channels")


def _resized(images: np.ndarray, side: int) -> np.ndarray:
    import torch  # here alone, and only where images are resized

    from tuition.inputs.images.preprocess import to_float

    with torch.no_grad():
        return to_float(torch.from_numpy(np.ascontiguousarray(images)), [0.0], [1.0], side).numpy()


def _per_channel(values: list[float] | None, default: float) -> np.ndarray:
    return np.array([default] if values is None else values, dtype=np.float32).reshape(-1, 1, 1)
