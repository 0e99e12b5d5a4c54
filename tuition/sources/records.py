"""Texts with names of their own, as sources of documents and queries give them."""

from dataclasses import dataclass, field

import numpy as np

from tuition.origins import objects


@dataclass(frozen=True)
class Records:
    """n texts: `names` as their source calls them, `texts` (n,) objects, and for each the file and the row there where it stood."""

    names: list[str]
    texts: np.ndarray
    files: list[str]
    rows: np.ndarray

    @classmethod
    def of(cls, file: str, names: list[str], texts: list[str], rows: list[int]) -> "Records":
        """Rows of one file."""
        return cls(names, objects(texts), [file] * len(names), np.array(rows, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.names)

    def __add__(self, other: "Records") -> "Records":
        joined = np.concatenate([self.texts, other.texts]), np.concatenate([self.rows, other.rows])
        return Records([*self.names, *other.names], joined[0], [*self.files, *other.files], joined[1])

    def take(self, rows: np.ndarray) -> "Records":
        """Some of them (m,), by number."""
        places = rows.tolist()
        return Records(
            [self.names[row] for row in places], self.texts[rows], [self.files[row] for row in places], self.rows[rows]
        )


@dataclass(frozen=True)
class Collection:
    """What a source holds: `relevance` by split (m, 3) int64: places of a query and of a document, and how relevant it is, from 1 on;
    `rejected`: a row, and why it holds no text."""

    documents: Records
    queries: Records
    relevance: dict[str, np.ndarray]
    rejected: list[tuple[str, str]] = field(default_factory=list)
