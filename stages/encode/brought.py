"""`file:<path>`: features that the user brings, one row for each row of the source.

`prepare` splits, drops and reorders; data/<split>/files.csv says which row of which table or array each sample came from, and by that
its features are found. Where samples are files of their own there are no rows: then the arrays are train, val and test, in the order
of data/<split>.
"""

import hashlib
from pathlib import Path

import numpy as np

from stages.encode.encoding import Encoder, Pools
from tuition.errors import UserError
from tuition.origins import SPLITS, Place, read_origins
from tuition.workspace import Workspace, given, lacking

ALL = ""  # the name of the array of a .npy file
VALID = "valid: a .npy file, an .npz file, or a folder of .npy files, each of numbers (N, D)"


def open_file(source: str, pools: Pools) -> Encoder:
    """The rows of the arrays at `file:<path>`.

    Raises UserError for a file that is missing or cannot be read, for arrays of another kind or width, and for a sample without a row.
    """
    place = source.partition(":")[2]
    where, path = f"encode.source: {source}", given(place)
    arrays = _read(path, where)
    widths = {array.shape[1] for array in arrays.values()}
    if len(widths) != 1:
        raise UserError(f"{where}: arrays are {sorted(widths)} wide; valid: one width for all")
    width = widths.pop()
    found = {split: _places(split, len(pools[split]), arrays, where) for split in SPLITS}

    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        names, places = found[split]
        out = np.empty((len(rows), width), dtype=np.float32)
        for name in np.unique(names[rows]):
            of_name = names[rows] == name
            out[of_name] = arrays[name][places[rows[of_name]]]
        return out

    return Encoder(source, width, encode, _sha256(path))


def _read(path: Path, where: str) -> dict[str, np.ndarray]:
    if wrong := lacking(path):
        raise UserError(f"{where}: {wrong}; {VALID}")
    files = sorted(path.glob("*.npy")) if path.is_dir() else [path]
    arrays: dict[str, np.ndarray] = {}
    try:
        for file in files:
            loaded = np.load(file, mmap_mode="r", allow_pickle=False)
            if isinstance(loaded, np.lib.npyio.NpzFile):
                arrays |= {name: loaded[name] for name in loaded.files}
            else:
                arrays[file.stem if path.is_dir() else ALL] = loaded
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{where}: cannot be read ({error}); {VALID}") from None
    if not arrays:
        raise UserError(f"{where}: holds no array; {VALID}")
    for name, array in arrays.items():
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.shape[1]:
            raise UserError(f"{where}: {name or 'the array'}: found {array.dtype} {array.shape}; {VALID}")
    return arrays


def _places(split: str, count: int, arrays: dict[str, np.ndarray], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Which array and which row of it each sample of a split has, (count,) text and (count,) int64."""
    origins = [place for _, place in read_origins(Workspace().split(split).files)]
    if len(origins) != count:
        raise UserError(f"data/{split}/files.csv: {len(origins)} lines for {count} samples; run `dvc repro -f prepare`")
    if all(row is None for _, row in origins) and split in arrays:
        if len(arrays[split]) != count:
            raise UserError(f"{where}: {split}: {len(arrays[split])} rows, but data/{split} has {count} samples")
        return np.full(count, split), np.arange(count)
    known: dict[str, str] = {}
    names, rows = [], np.empty(count, dtype=np.int64)
    for index, (file, row) in enumerate(origins):
        if file not in known:
            known[file] = _array_of((file, row), arrays, where)
        if row is None or row >= len(arrays[known[file]]):
            raise UserError(
                f"{where}: {known[file] or 'the array'} has {len(arrays[known[file]])} rows, but sample {index} of data/{split} "
                f"came from {file}, {'which has no rows' if row is None else f'row {row}'}; valid: a row for each row of the source, or "
                "train, val and test in the order of data/<split> where samples are files"
            )
        names.append(known[file])
        rows[index] = row
    _one_source(known, where)
    return np.array(names), rows


def _array_of(place: Place, arrays: dict[str, np.ndarray], where: str) -> str:
    """The array for the rows of a file of the source: of its name, with or without suffix, or the only one."""
    file = place[0]
    for name in (file, Path(file).stem, file.removesuffix("_images"), ALL):
        if name in arrays:
            return name
    raise UserError(f"{where}: no array for {file!r} of the source; found {', '.join(sorted(arrays))}")


def _one_source(known: dict[str, str], where: str) -> None:
    """One array without a name cannot say which file's rows it has, where the source has several."""
    if len(known) > 1 and ALL in known.values():
        raise UserError(
            f"{where}: one array, but the source has {', '.join(sorted(known))}; valid: an .npz file or folder with an array for each"
        )


def _sha256(path: Path) -> str | None:
    if path.is_dir():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
