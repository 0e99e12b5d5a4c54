"""The teacher behind a table: it has an answer to some samples, and nothing to say of the others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError, unknown
from tuition.files import read_array
from tuition.inputs import texts
from tuition.origins import SPLITS
from tuition.params.teacher import TableSettings
from tuition.sources.readers import Table, open_table
from tuition.targets.answers import NoAnswer
from tuition.teachers.local import InProcess
from tuition.teachers.protocol import Reply, Stop, Teacher
from tuition.teachers.table import read, samples
from tuition.teachers.table.cells import Cells, width_of
from tuition.teachers.table.columns import Chosen, choose
from tuition.workspace import Workspace, given

SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


class TableTeacher:
    """Answers by content id, (n,) or (n, C).

    What it is, is told by `teacher.name`, `teacher.version` and the form of its answers, never by the file: a row that is added must
    not make owned answers unowned, nor a file that is moved. That an owned answer has not changed is looked at when an order is opened
    (`tuition/purchase/unchanged.py`).
    """

    idempotent = True  # reading a row again costs nothing

    def __init__(self, settings: TableSettings, recorded: read.Recorded | None):
        """`recorded`: None where data/ is not there yet, so that nobody knows whose answers they are."""
        self.signals = self.families = settings.offered
        self.description = {
            "kind": "table",
            "name": settings.name,
            "version": settings.version,
            "answers": settings.form,
        }
        self.classes = settings.classes
        self.path, self.where = settings.path or "", f"teacher.path: {settings.path}"
        self.recorded = recorded

    def constants(self) -> dict[str, np.ndarray]:
        return {}

    def has(self, ids: np.ndarray) -> np.ndarray:
        """Of content ids (n,) S64 whether there is an answer, (n,) bool."""
        place = self.recorded.place if self.recorded else {}
        return np.fromiter((id in place for id in ids.tolist()), dtype=bool, count=len(ids))

    def answers(self, ids: Sequence[bytes]) -> dict[str, np.ndarray]:
        """The answers to samples (n,) by content id. Raises Stop where there is none."""
        places = []
        for id in ids:
            if self.recorded is None or id not in self.recorded.place:
                raise Stop(f"{self.where}: has no answer to sample {id.decode()}")
            places.append(self.recorded.place[id])
        return {self.signals[0]: self.recorded.values[places] if self.recorded else np.empty(0)}

    def answer(self, inputs: np.ndarray, keys: Sequence[str]) -> Reply:
        """`inputs`: content ids (n,) S64 in place of samples."""
        return Reply(self.answers(inputs.tolist()))

    def answered(self) -> int | None:
        """How many samples of the pool have an answer; None where that is not known."""
        return None if self.recorded is None else int(self.has(_pool()).sum())

    def told(self) -> list[str]:
        """What became of its rows and of the pool's samples, a line each."""
        if self.recorded is None:
            return []
        one, ids = self.recorded, _pool()
        answered = int(self.has(ids).sum())
        lines = [f"{self.path}: {one.rows:,} rows, with an answer to {answered:,} of the pool's {len(ids):,} samples"]
        if lacking := len(ids) - answered:
            lines.append(f"{lacking:,} samples of the pool have no answer there: they cost nothing and are left out")
        if one.unknown:
            named = ", ".join(map(repr, one.strange))
            lines.append(f"{one.unknown:,} of its rows name no sample in data/, such as {named}")
        if one.empty:
            lines.append(f"{one.empty:,} of its rows hold no answer")
        if one.others:
            lines.append(f"{one.others:,} of its rows differ from an earlier one for the same sample, which stands")
        return lines


def table_of(teacher: Teacher) -> TableTeacher | None:
    """The table behind a teacher; None where another one is."""
    model = teacher.model if isinstance(teacher, InProcess) else None
    return model if isinstance(model, TableTeacher) else None


def load_table(settings: TableSettings, facts: dict[str, Any]) -> TableTeacher:
    """The teacher of the table at `teacher.path`, for data with these facts: all of the file is read.

    Raises UserError for a file, column, name or answer that is not as it must be. Where `facts` are not those of a data/ that is there,
    only columns and answers are looked at.
    """
    where, path = f"teacher.path: {settings.path}", given(settings.path or "")
    table = open_table(path, where, _kind(path, where))
    chosen = choose(table, settings.columns, settings.form, facts["classes"], facts.get("inputs") == texts.NAME)
    cells = Cells(settings.form, facts["classes"], _width(table, chosen) if settings.form == "embedding" else 0)
    if "data" not in facts:  # the section that data/ was made by
        if not read.check(table, chosen, cells):
            raise UserError(f"{where}: no rows")
        return TableTeacher(settings, None)
    find = samples.finder(chosen.by, facts["data"]["source"])
    recorded = read.read(table, chosen, cells, find, _count())
    _check_known(table, chosen, recorded)
    return TableTeacher(settings, recorded)


def _width(table: Table, chosen: Chosen) -> int:
    """The numbers of the first embedding. Raises UserError where there is none."""
    for batch in table.batches(chosen.answers):
        for cell in batch[0]:
            if cell is not None:
                try:
                    return width_of(cell)
                except NoAnswer as error:
                    raise UserError(f"{table.where}: column {chosen.answers[0]!r}: {error}") from None
    raise UserError(f"{table.where}: column {chosen.answers[0]!r} holds no embedding")


def _kind(path: Path, where: str) -> str:
    if (kind := SUFFIXES.get(path.suffix.lower())) is None:
        raise unknown(f"{where}: its suffix", path.suffix, SUFFIXES)
    return kind


def _pool() -> np.ndarray:
    """Content ids of the pool, each once."""
    return np.unique(read_array(Workspace().split("train").ids))


def _count() -> int:
    """Of samples in data/."""
    paths = [Workspace().split(split).ids for split in SPLITS]
    return sum(len(read_array(path)) for path in paths if path.is_file())


def _check_known(table: Table, chosen: Chosen, recorded: read.Recorded) -> None:
    """Raises UserError where no row answers a sample."""
    if recorded.place:
        return
    if not recorded.unknown:
        raise UserError(f"{table.where}: no row with an answer in {', '.join(chosen.answers[:3])}")
    raise UserError(
        f"{table.where}: none of its {recorded.unknown:,} answers is to a sample in data/: column {chosen.key!r} holds "
        f"{', '.join(map(repr, recorded.strange))}, read as teacher.columns.{chosen.by}; valid: {samples.examples(chosen.by)}"
    )
