"""`data.additions`: samples that came after the source, `<folder>/<class>/<content id>.png`, at the end of the training split.

Validation and test stay as the source makes them, to the byte, and so do the source's rows of train and their mean and deviation:
what a teacher or a student is told of the data is the same before and after, so a teacher keeps its fingerprint, and what is owned
of it. `data.noise` and `data.imbalance` speak of the source's samples alone.
"""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import UserError
from tuition.inputs.images import files as pixels
from tuition.inputs.images.files import content_id
from tuition.origins import Origins
from tuition.params import Additions
from tuition.sources.split import Rows

NAME = re.compile(r"[0-9a-f]{64}\.png")
THREADS = 8
MEND = (
    "`dvc checkout additions.dvc` or `dvc pull additions.dvc` brings back what was tracked; `python -m flows.refresh` sets the digest of "
    "what it takes"
)


def listed(folder: Path) -> list[tuple[str, str]]:
    """(content id, class) of every sample in `folder`, by content id; a folder that is not there holds none.

    Raises UserError for anything else that lies in a class folder; what begins with a dot is passed over.
    """
    found = []
    for top in sorted(folder.iterdir()) if folder.is_dir() else []:
        if top.name.startswith(".") or not top.is_dir():
            continue
        for file in top.iterdir():
            if file.name.startswith("."):
                continue
            if not NAME.fullmatch(file.name):
                raise UserError(
                    f"{file}: not a sample; {folder}/<class>/ holds <content id>.png alone. New images go to refresh.inbox"
                )
            found.append((file.stem, top.name))
    return sorted(found)


def digest(samples: Iterable[tuple[str, str]]) -> str:
    """The sha256 (hex) of the sorted lines `class/id`: what `data.additions.digest` holds."""
    return hashlib.sha256("\n".join(sorted(f"{name}/{id}" for id, name in samples)).encode()).hexdigest()


def read_additions(
    additions: Additions, classes: list[str], shape: tuple[int, ...], splits: dict[str, Rows]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Origins, dict[str, int]]:
    """The additions that no split of the source holds, by content id: images (n, C, H, W) uint8, labels (n,) int64, ids (n,) S64.

    And where they lie, relative to the workspace, and how many each split holds already. `shape` is the source's (C, H, W). Raises
    UserError where the folder holds other samples than the digest says, a class that the source does not have, and an image of another
    content than its name says.
    """
    folder = Path(additions.folder)
    samples = listed(folder)
    if (found := digest(samples)) != additions.digest:
        raise UserError(
            f"data.additions: {folder}/ holds {len(samples)} samples with the digest {found[:12]}…, params.yaml says "
            f"{additions.digest[:12]}…; {MEND}"
        )
    strange = sorted({name for _, name in samples} - set(classes))
    if strange:
        raise UserError(f"data.additions: {folder}/{strange[0]}: no class of the source; valid: {', '.join(classes)}")
    ids = np.array([id for id, _ in samples], dtype="S64")
    labels = np.array([classes.index(name) for _, name in samples], dtype=np.int64)
    counts, new = {}, np.ones(len(ids), dtype=bool)
    for name in ("test", "val", "train"):
        held = np.isin(ids, splits[name].ids)
        counts[f"addition_in_{name}"] = int(held.sum())
        new &= ~held
    kept = np.flatnonzero(new)
    names = [f"{folder}/{samples[i][1]}/{samples[i][0]}.png" for i in kept]
    return _read_images(folder, names, shape, ids[kept]), labels[kept], ids[kept], Origins.of_files(names), counts


def _read_images(folder: Path, names: list[str], shape: tuple[int, ...], ids: np.ndarray) -> np.ndarray:
    """The images (n, C, H, W) in the files `names`. Raises UserError for one that is not of `shape`, or not that of its id."""
    # As they were written, with the pool's channels: what a PNG holds is converted in no way.
    images, _, rejected, _ = pixels.read(
        names, lambda index: Image.open(names[index]), None, None, "data.additions", THREADS
    )
    if rejected:
        raise UserError(f"data.additions: {rejected[0][0]}: {rejected[0][1]}; {MEND}")
    if names and images.shape[1:] != shape:
        raise UserError(
            f"data.additions: {folder}/ has images {images.shape[1:]}, those of the source are {shape} (channels, height, width); "
            "set data.resize and data.channels as they were, or data.additions to null and take the inbox anew"
        )
    for name, image, id in zip(names, images, ids, strict=True):
        if content_id(image) != id.decode():
            raise UserError(f"data.additions: {name}: its pixels are not those of its name; {MEND}")
    return images if names else np.empty((0, *shape), np.uint8)
