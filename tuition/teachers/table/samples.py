"""Whose answer a row is: from a file's name, a content id, a row of the pool or a text to the content id of a sample in data/."""

import re
from collections.abc import Callable
from pathlib import Path

from tuition.errors import UserError
from tuition.files import read_array
from tuition.inputs import texts
from tuition.origins import SPLITS, read_origins
from tuition.teachers.table.columns import Key
from tuition.workspace import Workspace, given

Find = Callable[[object], bytes | None]  # what a cell says → a content id; None: no sample is called so
SHOWN = 60  # characters of a text in a message
FOLDERS = ("folder", "hf")  # sources whose place is the folder that names are relative to; of others it is a file in it


def finder(by: Key, source: str) -> Find:
    """How the samples of data/ are found, which was made of `source` (data.source). Raises UserError where they have no such names."""
    return {"file": lambda: _by_file(source), "id": _by_id, "row": _by_row, "text": _by_text}[by]()


def examples(by: Key) -> str:
    """What samples of the pool are called, in words."""
    if by == "row":
        return f"0 to {len(read_array(Workspace().split('train').ids)) - 1}"
    if by == "id":
        return f"such as {read_array(Workspace().split('train').ids)[0].decode()}"
    if by == "text":
        return f"such as {str(texts.read(Workspace().split('train').path)[0])[:SHOWN]!r}"
    return f"such as {next((file for _, (file, _) in read_origins(Workspace().split('train').files)), '')!r}"


def _by_id() -> Find:
    known = _known()

    def find(said: object) -> bytes | None:
        id = str(said).strip().lower().encode()
        return id if id in known else None

    return find


def _by_text() -> Find:
    """By the text as it is, its white space too."""
    known = _known()

    def find(said: object) -> bytes | None:
        id = texts.content_id(str(said)).encode()
        return id if id in known else None

    return find


def _known() -> set[bytes]:
    """Content ids of all samples."""
    paths = [Workspace().split(split).ids for split in SPLITS]
    return {id for path in paths if path.is_file() for id in read_array(path).tolist()}


def _by_row() -> Find:
    ids = read_array(Workspace().split("train").ids)

    def find(said: object) -> bytes | None:
        text = str(said).strip()
        if not re.fullmatch(r"\d{1,18}(\.0*)?", text):  # libraries write whole numbers so where some are missing
            return None
        row = int(text.partition(".")[0])
        return bytes(ids[row]) if row < len(ids) else None

    return find


def _by_file(source: str) -> Find:
    """By a path relative to the source, or by a name that only one file has. Of equal names in two splits the pool's counts."""
    whole: dict[str, bytes] = {}
    short: dict[str, bytes | None] = {}
    for split in SPLITS:
        names: dict[str, bytes | None] = {}
        for text, (file, row) in read_origins(Workspace().split(split).files):
            if row is not None:
                continue
            id = text.encode()
            whole.setdefault(file, id)
            name = file.rpartition("/")[2]
            if names.setdefault(name, id) != id:
                names[name] = None
        short = names | short
    if not whole:
        raise UserError(
            "teacher.columns.file: the samples in data/ are no files of their own; set teacher.columns to {id: …} or {row: …}"
        )
    before = _before(source)

    def find(said: object) -> bytes | None:
        text = str(said).strip().replace("\\", "/").removeprefix("./")
        for prefix in before:
            text = text.removeprefix(prefix)
        return whole.get(text) or (short.get(text) if "/" not in text else None)

    return find


def _before(source: str) -> tuple[str, ...]:
    """What may stand before a name that is relative to the source: its folder, as it was given and from the root on."""
    kind, _, place = source.partition(":")
    folder = given(place) if kind in FOLDERS else given(place).parent
    return tuple(f"{one}/" for one in (folder.resolve(), folder) if one != Path())
