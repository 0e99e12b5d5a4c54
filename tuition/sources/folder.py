"""`folder:<path>`: one folder a class, of images of any kind, either directly or below train, val and test."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import UserError, is_text
from tuition.inputs.images import files as pixels
from tuition.origins import Origins
from tuition.params import Data
from tuition.sources.raw import Part, Raw
from tuition.workspace import given, lacking

SPLITS = ("train", "val", "test")
NOT_MEANT = ("thumbs.db", "desktop.ini")  # files that desktops leave behind
THREADS = 8  # Pillow decodes outside Python's lock


def load_folder(place: str, data: Data) -> Raw:
    """Every image below the class folders of `place`; a class is called by its folder's name, in sorted order.

    Links are followed, each real folder once. Raises UserError for a path that is no folder, one without class folders, an empty
    class folder, a class or split that is a link to nothing or whose name is no text, a class that train does not have, and images of
    several sizes without data.resize.
    """
    root, where = given(place), f"folder:{place}"
    if not root.is_dir():
        raise UserError(f"data.source: {where}: {lacking(root, 'folder') or 'not a folder'}")
    tops = _splits(root, where)
    for top in {root, *tops.values()}:
        _check_names(top, root, where)
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
    depths = pixels.Depths()
    images, kept, rejected = pixels.read(
        names, lambda index: open_image(files[index]), data.channels, data.resize, where, THREADS, depths
    )
    label, owner = np.array(labels, np.int64)[kept], np.array(owners)[kept]
    origins = Origins.of_files([names[index] for index in kept])
    parts = {split: _part(images, label, origins, owner == number) for number, split in enumerate(tops)}
    return Raw(parts, classes, rejected, depths.warnings())


def _part(images: np.ndarray, labels: np.ndarray, origins: Origins, mine: np.ndarray) -> Part:
    return Part(images if mine.all() else images[mine], labels[mine], origins[mine])


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


def _check_names(top: Path, root: Path, where: str) -> None:
    """Raises UserError for an entry of `top` that may be a class, and leads nowhere, or has a name that no table can hold."""
    for entry in sorted(top.iterdir()):
        name = entry.relative_to(root).as_posix()
        if entry.is_symlink() and not entry.exists() and not _hidden(entry):
            raise UserError(
                f"{where}: {name!r} is a link to {os.readlink(entry)!r}, which is not there; mend or remove it"
            )
        if entry.is_dir() and not is_text(entry.name):
            raise UserError(f"{where}: class folder {name!r}: its name is not UTF-8; rename it")


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, however deep, in the order of their paths; neither hidden ones nor those that desktops leave.

    Links to folders are followed, each real folder once, so that a circle of links ends; those that hold `folder` are not. Links that
    lead nowhere and folders that may not be read are among the files: `open_image` says what they are.
    """
    seen = {_identity(place) for place in (folder, *folder.resolve().parents)}
    found: list[Path] = []
    waiting = [folder]
    while waiting:  # first what lies there itself, then what links lead to, so that a folder goes by its own path
        links: list[Path] = []
        for top in waiting:
            _walk(top, found, links, seen)
        waiting = []
        for link in sorted(links):
            if _identity(link) not in seen:
                seen.add(_identity(link))
                waiting.append(link)
    return sorted(found)


def _walk(top: Path, found: list[Path], links: list[Path], seen: set[tuple[int, int]]) -> None:
    """Add the files below `top` to `found`, and the links to folders to `links`, which are not followed here."""
    try:
        entries = list(top.iterdir())
    except OSError:
        found.append(top)
        return
    for entry in entries:
        if _hidden(entry) or entry.name.lower() in NOT_MEANT:
            continue
        if entry.is_dir():
            if entry.is_symlink():
                links.append(entry)
            elif _identity(entry) not in seen:
                seen.add(_identity(entry))
                _walk(entry, found, links, seen)
        elif entry.is_file() or entry.is_symlink():
            found.append(entry)


def _identity(place: Path) -> tuple[int, int]:
    about = place.stat()
    return about.st_dev, about.st_ino


def open_image(file: Path) -> Image.Image:
    """A file of `files_below`, opened. Raises ValueError or OSError that says why it is no image."""
    if file.is_symlink() and not file.exists():
        raise ValueError("a link that leads nowhere")
    if file.is_dir():
        os.scandir(file).close()  # says why it may not be read
    return Image.open(file)


def _hidden(entry: Path) -> bool:
    return entry.name.startswith(".") or entry.name == "__MACOSX"
