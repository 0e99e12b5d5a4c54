"""Texts on disk: one Arrow file a split; their ids, and what is to be told of them."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.files import atomic
from tuition.workspace import Split

COLUMN = "text"
BATCH = 65_536  # texts of a record batch
LONG = 100_000  # characters of a text that is worth a warning


def write(folder: Path, samples: np.ndarray) -> None:
    """Write texts (n,) to `texts.arrow`, a few at a time."""
    import pyarrow as pa

    schema = pa.schema([(COLUMN, pa.large_string())])
    with atomic(Split(folder).texts) as file, pa.ipc.new_file(file, schema) as out:
        for start in range(0, len(samples), BATCH):
            column = pa.array(samples[start : start + BATCH].tolist(), pa.large_string())
            out.write_batch(pa.record_batch([column], schema=schema))


def read(folder: Path) -> np.ndarray:
    """The texts (n,) of such a file, which is mapped while they are read. Raises UserError where it is missing or damaged."""
    import pyarrow as pa

    path = Split(folder).texts
    try:
        with pa.memory_map(str(path)) as source:
            column = pa.ipc.open_file(source).read_all().column(COLUMN)
            found = column.to_numpy() if len(column) else np.empty(0, dtype=object)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run `dvc repro`") from None
    found.flags.writeable = False
    return found


def read_references(files: Split) -> np.ndarray:
    """The references (n,) of the prompts of a split, "" where there is none."""
    return read(files.references)


def content_id(sample: str) -> str:
    """The sha256 (hex) of a text's UTF-8 bytes, as it was given: no form of Unicode is put in the place of another."""
    return hashlib.sha256(sample.encode(errors="surrogatepass")).hexdigest()


def to_file(sample: str) -> bytes:
    """A text as UTF-8, as it was given."""
    return sample.encode()


def facts(samples: np.ndarray) -> dict[str, Any]:
    """characters: the least and the largest number of them in a text."""
    lengths = [len(text) for text in samples] or [0]
    return {"characters": [min(lengths), max(lengths)]}


def warnings(splits: Sequence[np.ndarray]) -> list[str]:
    """Texts that are much longer than any student reads, and those that are nearly the same as another one."""
    found = []
    long = [len(text) for samples in splits for text in samples if len(text) > LONG]
    if long:
        found.append(
            f"{len(long)} texts have more than {LONG:,} characters, the longest {max(long):,}: teachers are shown all of it, students the "
            "first student.max_tokens tokens"
        )
    texts = {text for samples in splits for text in samples}
    if near := len(texts) - len({_folded(text) for text in texts}):
        found.append(
            f"{near} texts are another one but for case, spaces and punctuation: each counts as a text of its own, and two such may lie in "
            "two splits"
        )
    return found


def _folded(text: str) -> str:
    return re.sub(r"[\W_]+", " ", text).strip().casefold() or text
