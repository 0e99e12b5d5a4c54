"""`npz:<path>`: one NumPy archive in MedMNIST's convention.

`train_images` uint8 (N, H, W) or (N, H, W, C), `train_labels` integers (N,) or (N, 1), the same for test and, where there
is a validation split, val; optionally `classes`, the name of each label.
"""

import zipfile
from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.inputs.images import files as pixels
from tuition.params import Data
from tuition.sources.raw import Part, Raw, to_classes

NEEDED = ("train_images", "train_labels", "test_images", "test_labels")
MAX_CHANNELS = 16  # more on the last axis is another layout


def load_npz(place: str, data: Data) -> Raw:
    """The arrays of the archive at `place`.

    Raises UserError for a missing or damaged file, missing keys, and arrays of another type, shape or length.
    """
    path, where = Path(place).expanduser(), f"npz:{place}"
    if not path.is_file():
        raise UserError(f"data.source: {where}: no such file")
    try:
        archive = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: not a readable .npz file ({_short(error)})") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UserError(f"{where}: holds one bare array; expected an archive with {', '.join(NEEDED)}")
    with archive:
        return _load(archive, data, where)


def _load(archive: np.lib.npyio.NpzFile, data: Data, where: str) -> Raw:
    splits = ["train", "test"] + (["val"] if {"val_images", "val_labels"} & set(archive.files) else [])
    wanted = [f"{split}_{what}" for split in splits for what in ("images", "labels")]
    missing = [key for key in wanted if key not in archive.files]
    if missing:
        raise UserError(f"{where}: lacks {', '.join(missing)}; found {', '.join(archive.files) or 'nothing'}")
    labels = {split: _labels(_array(archive, f"{split}_labels", where), f"{where}: {split}_labels") for split in splits}
    names = _names(_array(archive, "classes", where), where) if "classes" in archive.files else None
    mapped, classes = to_classes(where, labels, names)
    parts: dict[str, Part] = {}
    for split in splits:
        images = _images(_array(archive, f"{split}_images", where), f"{where}: {split}_images")
        if len(images) != len(labels[split]):
            raise UserError(f"{where}: {len(images)} {split}_images, but {len(labels[split])} {split}_labels")
        parts[split] = Part(pixels.convert(images, data.channels, data.resize, where), mapped[split])
        first, this = parts["train"].images.shape[1:], parts[split].images.shape[1:]
        if first[0] != this[0]:
            raise UserError(f"{where}: {first[0]} channels in train, {this[0]} in {split}; set data.channels to 1 or 3")
        if first != this:
            raise UserError(
                f"{where}: images differ in size: {first[2]}x{first[1]} in train, {this[2]}x{this[1]} in {split}; "
                "set data.resize to the pixels a side that all should have"
            )
    return Raw(parts, classes)


def _array(archive: np.lib.npyio.NpzFile, key: str, where: str) -> np.ndarray:
    try:
        return archive[key]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: {key} cannot be read ({_short(error)})") from None


def _images(images: np.ndarray, where: str) -> np.ndarray:
    """(N, H, W) or (N, H, W, C) -> contiguous (N, C, H, W)."""
    if images.dtype != np.uint8:
        raise UserError(f"{where}: found {images.dtype}, expected uint8")
    if images.ndim == 3:
        return images[:, None]
    if images.ndim != 4 or images.shape[3] > MAX_CHANNELS:
        raise UserError(f"{where}: found shape {images.shape}, expected (N, H, W) or (N, H, W, channels)")
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise UserError(
            f"{where}: found shape {labels.shape}: several labels a sample are not supported, expected (N,)"
        )
    if labels.ndim not in (1, 2):
        raise UserError(f"{where}: found shape {labels.shape}, expected (N,) or (N, 1)")
    if labels.dtype.kind not in "iu":
        raise UserError(f"{where}: found {labels.dtype}, expected integers")
    return labels.reshape(-1).astype(np.int64)


def _names(classes: np.ndarray, where: str) -> list[str]:
    if classes.ndim != 1 or classes.dtype.kind not in "US":
        raise UserError(f"{where}: classes: found {classes.dtype} {classes.shape}, expected one text for each label")
    return [name.decode() if isinstance(name, bytes) else str(name) for name in classes]


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
