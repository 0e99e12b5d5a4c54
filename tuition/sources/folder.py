"""`folder:<path>`: images of any kind, in one folder a class or loose without labels, either directly or below train, val and test."""

import os
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import UserError, is_text
from tuition.inputs.images import files as pixels
from tuition.origins import Originals, Origins
from tuition.params import Data
from tuition.sources.raw import UNKNOWN, Part, Raw
from tuition.workspace import given, lacking

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # folder -> split
NOT_MEANT = ("thumbs.db", "desktop.ini")  # files that desktops leave behind
THREADS = 8  # Pillow decodes outside Python's lock

Samples = list[tuple[str, Path]]  # class, file; of an image without a label the class is ""


def load_folder(place: str, data: Data) -> Raw:
    """Every image below the class folders of `place`; a class is called by its folder's name, in sorted order.

    Images that lie in `place` itself, or in the folder of a split, have no label; so have those of a single folder, which cannot be a
    class. Links are followed, each real folder once. Raises UserError for a path that is no folder, one without images, an empty
    class folder, a class or split that is a link to nothing or whose name is no text, a class that train does not have where it has a
    label for every image, and images of several sizes without data.resize.
    """
    root, where = given(place), f"folder:{place}"
    if not root.is_dir():
        raise UserError(f"data.source: {where}: {lacking(root, 'folder') or 'not a folder'}")
    tops = _splits(root, where)
    for top in {root, *tops.values()}:
        _check_names(top, root, where)
    found = {split: _listed(top, root, where) for split, top in tops.items()}
    warnings = _unlabelled(found, root, tops.get("train") == root, data)
    classes = _classes(found, where)
    files = [file for samples in found.values() for _, file in samples]
    if not files:
        raise UserError(
            f"data.source: {where}: no class folders and no images; expected <path>/<class>/<images>, or <path>/<images> without labels, "
            "or either of them below <path>/train, <path>/val and <path>/test"
        )
    names = [file.relative_to(root).as_posix() for file in files]
    depths = pixels.Depths()
    images, kept, rejected, known = pixels.read(
        names, lambda index: open_image(files[index]), data.channels, data.resize, where, THREADS, depths
    )
    labels = {name: number for number, name in enumerate(classes)} | {"": UNKNOWN}
    label = np.array([labels[name] for samples in found.values() for name, _ in samples], np.int64)[kept]
    owner = np.repeat(np.arange(len(found)), [len(samples) for samples in found.values()])[kept]
    origins = Origins.of_files([names[index] for index in kept])
    parts = {split: _part(images, label, origins, known, owner == number) for number, split in enumerate(found)}
    return Raw(parts, classes, rejected, depths.warnings() + warnings)


def _part(
    images: np.ndarray, labels: np.ndarray, origins: Origins, originals: Originals | None, mine: np.ndarray
) -> Part:
    known = None if originals is None else originals[mine]
    return Part(images if mine.all() else images[mine], labels[mine], origins[mine], known)


def _listed(top: Path, root: Path, where: str) -> Samples:
    """The images of a split: those of its class folders, then those that lie loose in it, which have no label."""
    found: Samples = []
    for folder in _folders(top):
        files = files_below(folder)
        if not files:
            raise UserError(
                f"{where}: class folder {folder.relative_to(root).as_posix()!r} is empty; fill or remove it"
            )
        found += [(folder.name, file) for file in files]
    return found + [("", file) for file in _loose(top)]


def _unlabelled(found: dict[str, Samples], root: Path, whole: bool, data: Data) -> list[str]:
    """Take the label from the images of a single folder, of a root that is not divided into splits (`whole`); and warnings."""
    names = {split: {name for name, _ in samples} for split, samples in found.items()}
    warnings = []
    for split, samples in found.items():
        if len(names[split]) > 1 and "" in names[split]:
            loose = [file for name, file in samples if not name]
            warnings.append(
                f"{len(loose)} images lie beside class folders, such as {loose[0].relative_to(root).as_posix()}: they have no label"
            )
    only = next(iter(names["train"]), "") if whole else ""
    if only and len(names["train"]) == 1 and only not in (data.classes or ()):
        found["train"] = [("", file) for _, file in found["train"]]
        warnings.append(
            f"{only} is the only folder: its images have no label (class folders are two or more, or those of data.classes)"
        )
    return warnings


def _classes(found: dict[str, Samples], where: str) -> list[str]:
    """Names of class folders in sorted order: those of train, or, where it has images without a label, those of any split."""
    names = {split: {name for name, _ in samples} for split, samples in found.items()}
    if "" in names.get("train", {""}):
        return sorted({name for several in names.values() for name in several} - {""})
    for split, several in names.items():
        if strange := sorted(several - names["train"] - {""}):
            raise UserError(f"{where}: class {strange[0]!r} is in {split} but not in train")
    return sorted(names["train"])


def _splits(root: Path, where: str) -> dict[str, Path]:
    """The folder of each split that is there.

    A folder `train` that holds no folders is a split where others are all that lies beside it, else a class of that name. There may be
    no train: then folders are splits where all of them are called so.
    """
    train, beside = root / "train", {folder.name for folder in _folders(root)}
    divided = bool(_folders(train) or (_loose(train) and beside <= {*SPLITS})) if train.is_dir() else False
    if not divided and (train.is_dir() or not beside or not beside <= {*SPLITS}):
        return {"train": root}
    if strange := sorted(beside - {*SPLITS}):
        raise UserError(
            f"{where}: found {', '.join(strange)} beside train; valid are {', '.join(SPLITS)}: rename or move"
        )
    found: dict[str, Path] = {}
    for name, split in SPLITS.items():
        if name in beside and split in found:
            raise UserError(f"{where}: found {found[split].name} and {name}, which are one split; rename or move one")
        if name in beside:
            found[split] = root / name
    return found


def _loose(top: Path) -> list[Path]:
    """The image files that lie in a folder itself, told by their suffix: a table or a text beside them is none."""
    return sorted(
        entry
        for entry in top.iterdir()
        if entry.suffix.lower() in suffixes() and not _hidden(entry) and not entry.is_dir()
    )


@cache
def suffixes() -> frozenset[str]:
    """Of the files that Pillow opens."""
    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)


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
