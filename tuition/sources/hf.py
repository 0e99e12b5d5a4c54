"""`hf:<folder>`: a data set of Hugging Face's libraries on disk, read by its documented layouts.

What `save_to_disk` writes (Arrow's streams beside `state.json`, one folder a split below `dataset_dict.json`), Parquet files whose
names say their split, and ImageFolder's layout with or without a table `metadata.*`.
"""

import json
import re
from pathlib import Path

from tuition.errors import UserError
from tuition.params import Data
from tuition.sources.columns import SPLITS, choose
from tuition.sources.folder import load_folder
from tuition.sources.parts import Source
from tuition.sources.raw import Raw
from tuition.sources.readers import Table, open_table
from tuition.sources.table import load_tables
from tuition.workspace import given, lacking

DICT, STATE = "dataset_dict.json", "state.json"
METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
IN_NAME = re.compile(rf"(?:^|[-_. /])({'|'.join(SPLITS)})(?=[-_. /]|$)")


def load_hf(place: str, data: Data) -> Raw:
    """The data set in the folder `place`, whichever of the layouts it has.

    Raises UserError for a path that is no folder, files that are missing, damaged or no such thing, and splits that are none of ours.
    """
    root, where = given(place), f"hf:{place}"
    if not root.is_dir():
        raise UserError(f"data.source: {where}: {lacking(root, 'folder') or 'not a folder'}")
    sources = _saved(root, where) or _metadata(root, where, data) or _parquet(root, where)
    if not sources:
        try:
            return load_folder(place, data)
        except UserError as error:
            raise UserError(str(error).replace(f"folder:{place}", where)) from None
    return load_tables(sources, root, data, where)


def _saved(root: Path, where: str) -> list[Source]:
    """What `save_to_disk` wrote of a data set, or of several splits."""
    if (root / STATE).is_file():
        return [Source(table) for table in _arrow(root, where)]
    if not (root / DICT).is_file():
        return []
    names = _json(root / DICT, where).get("splits", [])
    strange = [name for name in names if name not in SPLITS]
    if strange or not names:
        raise UserError(
            f"data.source: {where}: {DICT} names the splits {', '.join(names) or 'none'}; valid are {', '.join(SPLITS)}; "
            f"one of them alone is hf:<folder>/<split>"
        )
    return [Source(table, SPLITS[name]) for name in names for table in _arrow(root / name, f"{where}: {name}")]


def _arrow(folder: Path, where: str) -> list[Table]:
    files = [str(one["filename"]) for one in _json(folder / STATE, where).get("_data_files", [])]
    if not files:
        raise UserError(f"data.source: {where}: {STATE} names no data files")
    for name in files:
        if not (folder / name).is_file():
            raise UserError(f"data.source: {where}: {lacking(folder / name, 'file')}: {name}, which {STATE} names")
    return [open_table(folder / name, f"{where}: {name}", "arrow") for name in files]


def _metadata(root: Path, where: str, data: Data) -> list[Source]:
    """The tables of ImageFolder's layout, in the folder itself or in those of its splits.

    None where they have no labels, as captions do: then folders are classes.
    """
    folders = [(root, None), *((root / name, split) for name, split in SPLITS.items())]
    found = [
        Source(open_table(folder / name, f"{where}: {(folder / name).relative_to(root).as_posix()}"), split)
        for folder, split in folders
        for name in METADATA
        if (folder / name).is_file()
    ]
    return found if found and choose(found[0].table, data)[0].label else []


def _parquet(root: Path, where: str) -> list[Source]:
    """All Parquet files, however deep. Those whose path names no split are train."""
    sources = []
    for path in sorted(path for path in root.rglob("*.parquet") if path.name not in METADATA):
        name = path.relative_to(root).as_posix()
        named = IN_NAME.findall(name.removesuffix(".parquet"))
        split = SPLITS[named[-1]] if named else None
        sources.append(Source(open_table(path, f"{where}: {name}", "parquet"), split))
    return sources


def _json(path: Path, where: str) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"data.source: {where}: no {path.name}") from None
    except ValueError as error:
        raise UserError(f"data.source: {where}: {path.name} cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise UserError(f"data.source: {where}: {path.name}: found {type(found).__name__}, expected an object")
    return found
