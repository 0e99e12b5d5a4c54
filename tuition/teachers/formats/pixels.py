"""From stored pixels to what is sent: resized and normalised as `teacher.resize`, `teacher.mean` and `teacher.std` say."""

from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.params.teacher import ServerSettings


def check_pixels(settings: ServerSettings, data: dict[str, Any]) -> None:
    """Raises UserError where teacher.mean or teacher.std has not one value, or one for each channel of the data."""
    for key in ("mean", "std"):
        given = getattr(settings, key)
        if given is not None and len(given) not in (1, data["channels"]):
            raise UserError(f"teacher.{key}: found {len(given)} values, the data has {data['channels']} channels")


def sent_shape(settings: ServerSettings, data: dict[str, Any]) -> tuple[int, int, int]:
    """(C, H, W) of the images that are sent."""
    side = settings.resize
    return data["channels"], side or data["height"], side or data["width"]


def prepare_images(images: np.ndarray, settings: ServerSettings) -> np.ndarray:
    """images (B, C, H, W) uint8 -> (B, C, h, w): uint8 where neither mean nor std is set, else float32 (x / 255 - mean) / std.

    `settings` has `mean`, `std` (None, or a value for each channel or for all; one of them alone leaves the other at 0 or 1) and
    `resize` (None or pixels a side; bicubic, antialiased and clamped as for a local checkpoint, then rounded where uint8 goes
    out). Raises UserError as `check_pixels` does.
    """
    plain = settings.mean is None and settings.std is None
    if settings.resize is None or tuple(images.shape[-2:]) == (settings.resize, settings.resize):
        if plain:
            return images
        scaled = images.astype(np.float32) / np.float32(255)
    else:
        scaled = _resized(images, settings.resize)
        if plain:
            return np.rint(scaled * 255).astype(np.uint8)
    check_pixels(settings, {"channels": images.shape[1]})
    return (scaled - _per_channel(settings.mean, 0.0)) / _per_channel(settings.std, 1.0)


def _resized(images: np.ndarray, side: int) -> np.ndarray:
    import torch  # here alone, and only where images are resized

    from tuition.inputs.images.preprocess import to_float

    with torch.no_grad():
        return to_float(torch.from_numpy(np.ascontiguousarray(images)), [0.0], [1.0], side).numpy()


def _per_channel(values: list[float] | None, default: float) -> np.ndarray:
    return np.array([default] if values is None else values, dtype=np.float32).reshape(-1, 1, 1)
