"""The files and folders that `params.yaml` names: whether they are there."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tuition.errors import UserError, is_text
from tuition.params.data import Data
from tuition.params.schema import GUIDES, Params
from tuition.params.teacher import CheckpointSettings, ExpertsSettings, TableSettings
from tuition.signals import MAIN
from tuition.workspace import Splits, Workspace, given, lacking

DVC_IGNORES = (".git", ".hg", ".dvc")
BROUGHT = ("folder", "npz", "csv", "jsonl", "parquet", "hf", "beir")  # sources that are a file or folder of the user's
UNNAMED = {
    str(Data.model_fields[key].default) for key in ("watch", "watch_evaluation")
}  # where the user brings nothing


def watched(params: Params) -> dict[str, str]:
    """Key and path of what DVC looks at for changes, where the user brings it."""
    found = {
        "data.watch": params.data.watch,
        "data.watch_evaluation": params.data.watch_evaluation,
        "encode.watch": params.encode.watch,
        "teach.watch": params.teach.watch,
        "compare.watch": params.compare.watch,
    }
    found["teacher.weights"] = params.teacher.weights
    if params.data.additions:
        found["data.additions.folder"] = params.data.additions.folder
    return {key: place for key, place in found.items() if place not in UNNAMED and not _of_pretrain(place)}


def unwatched(source: str | None, *watches: str) -> str | None:
    """The file or folder of a source, where it is the user's and lies in none of what DVC looks at."""
    kind, _, place = (source or "").partition(":")
    if kind not in BROUGHT:
        return None
    file, places = given(place).resolve(), [given(one).resolve() for one in watches]
    return None if any(file == one or one in file.parents for one in places) else place


def check_watched(params: Params) -> None:
    """Raises UserError where something is not there that DVC needs before it runs a stage, or holds what DVC cannot read."""
    places = watched(params)
    _check(places.items())
    for key, place in places.items():
        for file in _within(Path(place)):
            if file.is_symlink() and not file.exists():
                raise UserError(
                    f"{key}: {file} is a link to {os.readlink(file)!r}, which is not there: DVC cannot read it; remove it"
                )
            if not is_text(file.name):
                raise UserError(
                    f"{key}: {str(file)!r}: a name that is not UTF-8, which DVC cannot keep; rename it, or watch another file"
                )


def linked_folders(place: Path) -> list[Path]:
    """The links to folders below a folder that DVC looks at: it does not follow them, so that what changes behind them is not noticed."""
    return sorted(file for file in _within(place) if file.is_symlink() and file.is_dir())


def _within(place: Path) -> Iterator[Path]:
    """All files and folders below a folder, as DVC goes through it."""
    for top, folders, files in os.walk(place):
        folders[:] = [name for name in folders if name not in DVC_IGNORES]
        yield from (Path(top, name) for name in (*folders, *files))


def check_places(params: Params) -> None:
    """Raises UserError where something is not there that a stage or a flow is to read.

    A source is not asked for where what was made of it is there.
    """
    check_watched(params)
    _check(_read(params))


def _of_pretrain(place: str) -> bool:
    return Path(os.path.relpath(place)).parts[:1] == (MAIN,)


def _check(places: Iterable[tuple[str, str]]) -> None:
    for key, place in places:
        if wrong := lacking(given(place)):
            raise UserError(f"{key}: found {place!r}: {wrong}")


def _read(params: Params) -> Iterator[tuple[str, str]]:
    """Key and path of what stages and flows read beside that."""
    here = Workspace()
    for key, source, made in (
        ("data.source", params.data.source, here.data),
        ("data.evaluation", params.data.evaluation or "", here.data),
        ("transfer.source", params.transfer.source or "", here.transfer),
    ):
        kind, _, place = source.partition(":")
        if kind in BROUGHT and source not in _made_of(made):
            yield key, place
    if params.encode.source.startswith("file:"):
        yield "encode.source", params.encode.source.partition(":")[2]
    if params.encode.source.startswith("sentence:"):
        yield "encode.source", params.encode.source.partition(":")[2]
    if params.student.folder:
        yield "student.encoder" if params.student.encoder else "student.arch", params.student.folder
    if params.encode.weights not in (None, "library"):
        yield "encode.weights", str(params.encode.weights)
    if params.teach.guide is not None:
        yield f"teach.{GUIDES[params.teach.strategy]}", params.teach.guide
    for number, one in enumerate((params.teacher, *params.teachers)):
        where = f"teachers.{number - 1}" if number else MAIN
        if isinstance(one, CheckpointSettings) and number:
            yield f"{where}.weights", one.weights
        if isinstance(one, TableSettings):
            yield f"{where}.path", one.path or ""
        if isinstance(one, ExpertsSettings):
            networks = [*one.experts, *([one.free] if one.free else [])]
            yield from ((f"{where}.experts", each.weights) for each in networks if not _of_pretrain(each.weights))
    if params.refresh.inbox and "://" not in params.refresh.inbox:
        yield "refresh.inbox", params.refresh.inbox


def _made_of(splits: Splits) -> tuple[str | None, ...]:
    """The sources of what is there."""
    try:
        meta = json.loads(splits.meta.read_text(encoding="utf-8"))
        return meta["source"], meta.get("data", {}).get("evaluation")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ()
