"""`folder:<path>`: one folder a class, of images of any kind, either directly or below train, val and test."""

from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import UserError
from tuition.inputs.images import files as pixels
from tuition.params import Data
from tuition.sources.raw import Part, Raw

SPLITS = ("train", "val", "test")
NOT_MEANT = ("thumbs.db", "desktop.ini")  # files that desktops leave behind
THREADS = 8  # Pillow decodes outside Python's lock


def load_folder(place: str, data: Data) -> Raw:
    """Every image below the class folders of `place`; a class is called by its folder's name, in sorted order.

    Raises UserError for a path that is no folder, one without class folders, an empty class folder, a class that train
    does not have, and images of several sizes without data.resize.
    """
    root, where = Path(place).expanduser(), f"folder:{place}"
    if not root.is_dir():
        raise UserError(f"data.source: {where}: {'not a folder' if root.exists() else 'no such folder'}")
    tops = _splits(root, where)
    classes = [folder.name for folder in _folders(tops["train"])]
    if not classes:
        raise UserError(
            f"data.source: {where}: no class folders; expected <path>/<class>/<images>, "
            "or <path>/train/<class>/<images> and <path>/test/<class>/<images>"
        )
    files: list[Path] = []
    labels: list[int] = []
    owners: list[int] = []  # which split
    for number, (split, top) in enumerate(tops.items()):
        for folder in _folders(top):
            if folder.name not in classes:
                raise UserError(f"{where}: class {folder.name!r} is in {split} but not in train")
            found = files_below(folder)
            if not found:
                raise UserError(
                    f"{where}: class folder {folder.relative_to(root).as_posix()!r} is empty; fill or remove it"
                )
            files += found
            labels += [classes.index(folder.name)] * len(found)
            owners += [number] * len(found)
    names = [file.relative_to(root).as_posix() for file in files]
    images, kept, rejected = pixels.read(
        names, lambda index: Image.open(files[index]), data.channels, data.resize, where, THREADS
    )
    label, owner = np.array(labels, np.int64)[kept], np.array(owners)[kept]
    parts = {split: _part(images, label, owner == number) for number, split in enumerate(tops)}
    return Raw(parts, classes, rejected)


def _part(images: np.ndarray, labels: np.ndarray, mine: np.ndarray) -> Part:
    return Part(images if mine.all() else images[mine], labels[mine])


def _splits(root: Path, where: str) -> dict[str, Path]:
    """The folder of each split that is there. A folder `train` that holds no folders is a class of that name."""
    if not (root / "train").is_dir() or not _folders(root / "train"):
        return {"train": root}
    strange = [folder.name for folder in _folders(root) if folder.name not in SPLITS]
    if strange:
        raise UserError(
            f"{where}: found {', '.join(strange)} beside train; valid are {', '.join(SPLITS)}: rename or move"
        )
    return {split: root / split for split in SPLITS if (root / split).is_dir()}


def _folders(top: Path) -> list[Path]:
    return sorted(entry for entry in top.iterdir() if entry.is_dir() and not _hidden(entry))


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, however deep, in the order of their paths; neither hidden ones nor those that desktops leave."""
    return sorted(
        entry
        for entry in folder.rglob("*")
        if entry.is_file()
        and entry.name.lower() not in NOT_MEANT
        and not any(part.startswith(".") for part in entry.relative_to(folder).parts)
    )


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name == "__MACOSX"
