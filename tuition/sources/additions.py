"""`data.additions`: samples that came after the source, `<folder>/<class>/<content id>.png` (texts: `.txt`), at the end of train.

One without a label lies in the folder itself. Where `data.resize` made the source's samples smaller, additions are kept as the originals
that they are, and made smaller likewise.

Validation and test stay as the source makes them, to the byte, and so do the source's rows of train and their mean and deviation:
what a teacher or a student is told of the data is the same before and after, so a teacher keeps its fingerprint, and what is owned
of it. `data.noise` and `data.imbalance` speak of the source's samples alone.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import UserError
from tuition.inputs.images import files as pixels
from tuition.inputs.images.files import content_id
from tuition.inputs.protocol import Inputs
from tuition.origins import Origins, objects
from tuition.params import Data
from tuition.sources.raw import UNKNOWN
from tuition.sources.split import Rows

NAME = re.compile(r"[0-9a-f]{64}\.(png|txt)")
THREADS = 8
MEND = (
    "`dvc checkout additions.dvc` or `dvc pull additions.dvc` brings back what was tracked; `python -m flows.refresh` sets the digest of "
    "what it takes"
)


def listed(folder: Path) -> list[tuple[str, str]]:
    """(content id, class) of every sample in `folder`, by content id, the class of one without a label is ""; a folder that is not
    there holds none.

    Raises UserError for anything else that lies in a class folder; what begins with a dot is passed over.
    """
    found = []
    for top in sorted(folder.iterdir()) if folder.is_dir() else []:
        if top.name.startswith(".") or not top.is_dir():
            found += [(top.stem, "")] if NAME.fullmatch(top.name) else []
            continue
        for file in top.iterdir():
            if file.name.startswith("."):
                continue
            if not NAME.fullmatch(file.name):
                raise UserError(
                    f"{file}: not a sample; {folder}/<class>/ holds <content id>.png or .txt alone. New samples go to refresh.inbox"
                )
            found.append((file.stem, top.name))
    return sorted(found)


def digest(samples: Iterable[tuple[str, str]]) -> str:
    """The sha256 (hex) of the sorted lines `class/id`: what `data.additions.digest` holds."""
    return hashlib.sha256("\n".join(sorted(f"{name}/{id}" for id, name in samples)).encode()).hexdigest()


@dataclass(frozen=True)
class Added:
    """Additions that no split of the source holds, by content id.

    `images` (n, …) as they are stored, images or texts, `labels` (n,) int64, `ids` (n,) S64 of the originals, `stored_ids` (n,) S64;
    `origins`: where they lie, relative to the workspace; `held`: how many each split holds already, for `meta.json`.
    """

    images: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    stored_ids: np.ndarray
    origins: Origins
    held: dict[str, int]


def read_additions(
    data: Data, inputs: Inputs, classes: list[str], shape: tuple[int, ...], splits: dict[str, Rows], smaller: bool
) -> Added:
    """The samples of `data.additions`. `shape` is that of the source's samples; `smaller`: these are not the originals.

    Raises UserError where the folder holds other samples than the digest says, a class that the source does not have, and a sample of
    another content than its name says.
    """
    assert data.additions is not None
    folder = Path(data.additions.folder)
    samples = listed(folder)
    if (found := digest(samples)) != data.additions.digest:
        raise UserError(
            f"data.additions: {folder}/ holds {len(samples)} samples with the digest {found[:12]}…, params.yaml says "
            f"{data.additions.digest[:12]}…; {MEND}"
        )
    strange = sorted({name for _, name in samples} - {*classes, ""})
    if strange:
        raise UserError(f"data.additions: {folder}/{strange[0]}: no class of the source; valid: {', '.join(classes)}")
    ids = np.array([id for id, _ in samples], dtype="S64")
    labels = np.array([classes.index(name) if name else UNKNOWN for _, name in samples], dtype=np.int64)
    counts, new = {}, np.ones(len(ids), dtype=bool)
    for name in ("test", "val", "train"):
        held = np.isin(ids, splits[name].ids)
        counts[f"addition_in_{name}"] = int(held.sum())
        new &= ~held
    kept = np.flatnonzero(new)
    names = [(folder / samples[i][1] / f"{samples[i][0]}{inputs.SUFFIX}").as_posix() for i in kept]
    if inputs.NAME == "texts":
        added = _read_texts(inputs, names, ids[kept])
    else:
        added = _read_images(folder, names, shape, ids[kept], data.channels, smaller)
    stored = np.array([content_id(one) for one in added], dtype="S64") if smaller else ids[kept]
    return Added(added, labels[kept], ids[kept], stored, Origins.of_files(names), counts)


def _read_texts(inputs: Inputs, names: list[str], ids: np.ndarray) -> np.ndarray:
    """The texts (n,) in the files `names`. Raises UserError for one that is not there, or not that of its id."""
    texts = []
    for name, id in zip(names, ids.tolist(), strict=True):
        try:
            texts.append(Path(name).read_bytes().decode())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"data.additions: {name}: {error}; {MEND}") from None
        if inputs.content_id(texts[-1]).encode() != id:
            raise UserError(f"data.additions: {name}: its text is not that of its name; {MEND}")
    return objects(texts)


def _read_images(
    folder: Path, names: list[str], shape: tuple[int, ...], ids: np.ndarray, channels: int | None, smaller: bool
) -> np.ndarray:
    """The images (n, C, H, W) in the files `names`. Raises UserError for one that is not of `shape`, or not that of its id."""
    # As they were written, where samples are the originals: what a PNG holds is then converted in no way.
    images, _, rejected, originals = pixels.read(
        names,
        lambda index: Image.open(names[index]),
        channels if smaller else None,
        (shape[2], shape[1]) if smaller else None,
        "data.additions",
        THREADS,
    )
    if rejected:
        raise UserError(f"data.additions: {rejected[0][0]}: {rejected[0][1]}; {MEND}")
    if not names:
        return np.empty((0, *shape), np.uint8)
    if smaller and images.shape[1] == 1 < shape[0]:
        images = np.repeat(images, shape[0], axis=1)
    if images.shape[1:] != shape:
        raise UserError(
            f"data.additions: {folder}/ has images {images.shape[1:]}, those of the source are {shape} (channels, height, width); "
            "set data.resize and data.channels as they were, or data.additions to null and take the inbox anew"
        )
    found = [content_id(one).encode() for one in images] if originals is None else originals.ids.tolist()
    for name, of_content, id in zip(names, found, ids.tolist(), strict=True):
        if of_content != id:
            raise UserError(f"data.additions: {name}: its pixels are not those of its name; {MEND}")
    return images
