"""`file`: the samples that a text file lists, in its order. It is the same order in every pool that holds them all.

A line's first column is a content id (64 hexadecimal digits), as data/train/ids.npy and outputs/<budget>/ids.npy hold them. Columns end
at a comma, semicolon or white space, and the others are not read, so that a CSV file does; `#` begins a comment; a first line with the
heading `id` is passed over.
"""

import re

import numpy as np

from tuition.errors import UserError
from tuition.selection.pool import Pool
from tuition.workspace import given

HEADINGS = ("id", "ids", "content_id")


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    """The listed places, but of what cannot be bought.

    Raises UserError for a file that can't be read, an id that is none, unknown or listed twice, and too few.
    """
    assert guide is not None
    where = f"teach.order: {guide}"
    place = {one.decode(): number for number, one in enumerate(pool.ids)}
    line_of: dict[str, int] = {}
    for line, found in _first_columns(guide, where):
        if found in line_of:
            raise UserError(
                f"{where}: line {line}: {found} stands on line {line_of[found]} already; each id may stand once"
            )
        if not re.fullmatch("[0-9a-f]{64}", found):
            raise UserError(f"{where}: line {line}: found {found[:80]!r}, expected a content id: 64 hexadecimal digits")
        if found not in place and found.encode() not in pool.barred:
            raise UserError(f"{where}: line {line}: {found} is not in the pool; valid: the ids in data/train/ids.npy")
        line_of[found] = line
    listed = [place[one] for one in line_of if one in place]
    if len(listed) < limit:
        barred = f" that the teacher answers (of {len(line_of)})" if len(line_of) > len(listed) else ""
        raise UserError(
            f"{where}: {len(listed)} ids{barred}, but a budget of {limit} is to be bought; list more, or lower study.budgets"
        )
    return np.array(listed, dtype=np.int64)


def _first_columns(guide: str, where: str) -> list[tuple[int, str]]:
    """(number of the line from 1, first column in lower case) of every line that holds something."""
    try:
        text = given(guide).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{where}: not a text file; valid: one content id a line") from None
    except OSError as error:
        raise UserError(
            f"{where}: cannot be read ({error.strerror}); valid: a text file, one content id a line"
        ) from None
    lines = [(number, line.partition("#")[0].strip()) for number, line in enumerate(text.splitlines(), start=1)]
    columns = [
        (number, re.split(r"[,;\s]", line, maxsplit=1)[0].strip("\"'").lower()) for number, line in lines if line
    ]
    return columns[1:] if columns and columns[0][1] in HEADINGS else columns
