"""`npz:<path>`: one NumPy archive in MedMNIST's convention.

`train_images` uint8 (N, H, W) or (N, H, W, C), `train_labels` integers (N,) or (N, 1), where −1 is no label, and the same for test
and val where there are such splits; optionally `classes`, the name of each label. Without `train_labels` the pool has no labels.
"""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.files import stand_in
from tuition.inputs.images import files as pixels
from tuition.origins import Origins
from tuition.params import Data
from tuition.sources.raw import UNKNOWN, Part, Raw, to_classes
from tuition.workspace import given, lacking

USUALLY = ("train_images", "train_labels", "test_images", "test_labels")
MAX_CHANNELS = 16  # more on the last axis is another layout
USUAL = (1, 3, 4)  # channels: grey, colour, colour with alpha
LAYOUTS = "expected (N, H, W) or (N, H, W, channels)"


def load_npz(place: str, data: Data) -> Raw:
    """The arrays of the archive at `place`.

    Raises UserError for a missing or damaged file, missing keys, and arrays of another type, shape or length.
    """
    path, where = given(place), f"npz:{place}"
    if path.is_dir():
        raise UserError(f"data.source: {where}: a folder, expected an .npz file; folders of images are folder:{place}")
    if not path.is_file():
        raise UserError(f"data.source: {where}: {lacking(path, 'file') or 'not a file'}")
    if found := stand_in(path):
        raise UserError(f"data.source: {where}: not an .npz file: found {found}")
    try:
        archive = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: not a readable .npz file ({_short(error)})") from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UserError(f"{where}: holds one bare array; expected an archive with {', '.join(USUALLY)}")
    with archive:
        return _load(archive, data, where)


def _load(archive: np.lib.npyio.NpzFile, data: Data, where: str) -> Raw:
    held = set(archive.files)
    splits = ["train", *(split for split in ("test", "val") if {f"{split}_images", f"{split}_labels"} & held)]
    wanted = [f"{split}_images" for split in splits]
    if "train_labels" in held:  # then a split without is more likely a slip than meant
        wanted = [f"{split}_{what}" for split in splits for what in ("images", "labels")]
    known = {f"{split}_{what}" for split in ("train", "val", "test") for what in ("images", "labels")}
    strange = [key for key in archive.files if key.endswith(("_images", "_labels")) and key not in known]
    if strange:
        raise UserError(f"{where}: found {', '.join(strange)}; valid are {', '.join(sorted(known))}: rename or remove")
    missing = [key for key in wanted if key not in held]
    if missing:
        raise UserError(f"{where}: lacks {', '.join(missing)}; found {', '.join(archive.files) or 'nothing'}")
    labels = {split: _labels_of(archive, split, where) for split in splits}
    names = _names(_array(archive, "classes", where), where) if "classes" in archive.files else None
    mapped, classes = to_classes(where, labels, names)
    parts: dict[str, Part] = {}
    for split in splits:
        images = _images(_array(archive, f"{split}_images", where), f"{where}: {split}_images")
        if f"{split}_labels" not in held:
            mapped[split] = np.full(len(images), UNKNOWN, np.int64)
        if len(images) != len(mapped[split]):
            raise UserError(f"{where}: {len(images)} {split}_images, but {len(labels[split])} {split}_labels")
        origins = Origins.of_rows(f"{split}_images", len(images))
        originals = pixels.originals_of(images, data.channels, data.resize, where)
        parts[split] = Part(
            pixels.convert(images, data.channels, data.resize, where), mapped[split], origins, originals
        )
        first, this = parts["train"].images.shape[1:], parts[split].images.shape[1:]
        if first[0] != this[0]:
            raise UserError(f"{where}: {first[0]} channels in train, {this[0]} in {split}; set data.channels to 1 or 3")
        if first != this:
            raise UserError(
                f"{where}: images differ in size: {first[2]}x{first[1]} in train, {this[2]}x{this[1]} in {split}; "
                "set data.resize to the pixels a side that all should have"
            )
    return Raw(parts, classes)


def images_of(path: Path, key: str, where: str) -> np.ndarray:
    """The images (N, C, H, W) uint8 under one key, such as `train_images`. Raises UserError as `load_npz` does."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _images(_array(archive, key, where), f"{where}: {key}")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: not the archive that `prepare` read ({_short(error)})") from None


def _array(archive: np.lib.npyio.NpzFile, key: str, where: str) -> np.ndarray:
    try:
        return archive[key]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{where}: {key} cannot be read ({_short(error)})") from None


def _images(images: np.ndarray, where: str) -> np.ndarray:
    """(N, H, W) or (N, H, W, C) -> contiguous (N, C, H, W)."""
    if images.dtype != np.uint8:
        raise UserError(f"{where}: found {images.dtype}, expected uint8")
    shape = images.shape
    if images.ndim == 3 and min(shape[1:]) > max(USUAL):
        return images[:, None]
    if images.ndim == 3:
        raise UserError(
            f"{where}: found shape {shape}: images {shape[2]} wide and {shape[1]} high, or pixels in one row? {LAYOUTS}"
        )
    if images.ndim != 4 or shape[3] > MAX_CHANNELS:
        raise UserError(f"{where}: found shape {shape}, {LAYOUTS}")
    last, first = (_plausible(*sides) for sides in ((shape[3], shape[1:3]), (shape[1], shape[2:])))
    if first >= last:
        what = "channels seem to come first" if first > last else "channels may come first or last"
        raise UserError(
            f"{where}: found shape {shape}: {what}; {LAYOUTS}. `images.transpose(0, 2, 3, 1)` puts them last"
        )
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def _plausible(channels: int, sides: tuple[int, ...]) -> int:
    """How much an axis looks like that of the channels, the others being `sides` of an image."""
    if channels > MAX_CHANNELS:
        return 0
    return 1 + 2 * (channels in USUAL and max(sides) > channels) + (sides[0] == sides[1])


def _labels_of(archive: np.lib.npyio.NpzFile, split: str, where: str) -> np.ndarray:
    """The labels (N,) of a split; one UNKNOWN where it has none."""
    key = f"{split}_labels"
    return _labels(_array(archive, key, where), f"{where}: {key}") if key in archive.files else np.array([UNKNOWN])


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
    try:
        names = [name.decode() if isinstance(name, bytes) else str(name) for name in classes]
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: classes: found {error.object!r}, expected UTF-8") from None
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            f"{where}: classes: found {', '.join(map(repr, twice))} twice; each label needs a name of its own"
        )
    return names


def _short(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
