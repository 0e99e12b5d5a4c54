"""Outputs as they are stored: those of calls that were answered together in one block, one part a signal."""

import hashlib
import math
import re
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import sqlalchemy as sa

from tuition.ledger.schema import blocks, calls, parts

CHECK = 8  # bytes of a checksum
LARGEST = 16 << 20  # bytes of a part, so that reading one call's output never reads much
CHUNK = 500  # blocks read at once
_TYPE = re.compile(r"(\w+)\[([\d, ]*)\]")


def store(db: sa.Connection, answers: Sequence[tuple[int, dict[str, np.ndarray]]]) -> None:
    """Store the outputs {signal: array} of calls (by id), which then hold them; what they held before is forgotten."""
    alike: dict[tuple, list[int]] = {}
    for at, (_, signals) in enumerate(answers):  # the outputs of a block have the same types
        alike.setdefault(tuple((name, one.dtype, one.shape) for name, one in signals.items()), []).append(at)
    for types, all_of in alike.items():
        largest = max((math.prod(shape) * dtype.itemsize for _, dtype, shape in types), default=1)
        size = max(1, LARGEST // max(1, largest))
        for start in range(0, len(all_of), size):
            _store(db, [answers[at] for at in all_of[start : start + size]])


def _store(db: sa.Connection, answers: Sequence[tuple[int, dict[str, np.ndarray]]]) -> None:
    block = db.scalar(blocks.insert().values(calls=len(answers)).returning(blocks.c.id))
    first = answers[0][1]
    if first:
        rows = []
        for signal, value in first.items():
            native = value.dtype.newbyteorder("=")  # its name, which is stored, does not tell
            payloads = [np.ascontiguousarray(signals[signal], dtype=native).tobytes() for _, signals in answers]
            sums = b"".join(checksum(payload) for payload in payloads)
            type = f"{value.dtype.name}{list(value.shape)}"
            rows.append(
                {"block_id": block, "signal": signal, "type": type, "payload": b"".join(payloads), "checksums": sums}
            )
        db.execute(parts.insert(), rows)
    held = calls.update().where(calls.c.id == sa.bindparam("call")).values(block_id=block, place=sa.bindparam("at"))
    db.execute(held, [{"call": id, "at": at} for at, (id, _) in enumerate(answers)])


class Part:
    """One signal of a block: `whole[i]` says whether the i-th output is as it was stored; `values[i]` gives it."""

    def __init__(self, row: sa.Row):
        self.block, self.signal, self.type = row.block_id, row.signal, row.type
        self.dtype, self.shape = _type(row.type)
        self.bytes = self.dtype.itemsize * math.prod(self.shape)
        self.payload, self.checksums = bytes(row.payload), bytes(row.checksums)

    def is_whole(self, at: int) -> bool:
        """Whether the output at place `at` is as it was stored."""
        return checksum(self._of(at)) == self.checksums[at * CHECK : (at + 1) * CHECK]

    def damaged(self, count: int) -> list[int]:
        """The first `count` places whose outputs are not as they were stored, as `is_whole` finds them."""
        payload, sums, size, check = memoryview(self.payload), self.checksums, self.bytes, hashlib.blake2b
        return [
            at
            for at in range(count)
            if check(payload[at * size : (at + 1) * size], digest_size=CHECK).digest()
            != sums[at * CHECK : (at + 1) * CHECK]
        ]

    def value(self, at: int) -> np.ndarray:
        """The output at place `at`, read-only."""
        return np.frombuffer(self._of(at), dtype=self.dtype).reshape(self.shape)

    def _of(self, at: int) -> bytes:
        return self.payload[at * self.bytes : (at + 1) * self.bytes]


def _type(text: str) -> tuple[np.dtype, tuple[int, ...]]:
    """The dtype and shape of one output; of a text that is damaged a type that no output has, so that none is whole."""
    try:
        match = _TYPE.fullmatch(text)
        if match:
            return np.dtype(match[1]), tuple(int(n) for n in match[2].split(",") if n.strip())
    except (TypeError, ValueError):
        pass
    return np.dtype("V1"), (1 << 40,)


def read(db: sa.Connection, ids: Collection[int], signals: Collection[str] | None = None) -> Iterator[Part]:
    """The parts of these blocks, some at a time; of all signals where `signals` is None."""
    wanted = sorted(ids)
    for start in range(0, len(wanted), CHUNK):
        where = [parts.c.block_id.in_(wanted[start : start + CHUNK])]
        if signals is not None:
            where.append(parts.c.signal.in_(list(signals)))
        for row in db.execute(sa.select(parts).where(*where).execution_options(yield_per=16)):
            yield Part(row)


def mend(db: sa.Connection, part: Part, at: int, value: np.ndarray) -> None:
    """Put `value` in the place of a damaged output."""
    fresh = np.ascontiguousarray(value, dtype=part.dtype).tobytes()
    size = part.bytes * (len(part.checksums) // CHECK)
    payload = part.payload[:size].ljust(size, b"\0")
    start, end = at * part.bytes, (at + 1) * part.bytes
    sums = part.checksums[: at * CHECK] + checksum(fresh) + part.checksums[(at + 1) * CHECK :]
    part.payload, part.checksums = payload[:start] + fresh + payload[end:], sums
    where = (parts.c.block_id == part.block, parts.c.signal == part.signal)
    db.execute(parts.update().where(*where).values(payload=part.payload, checksums=part.checksums))


def checksum(payload: bytes) -> bytes:
    """Eight bytes of BLAKE2b over a stored output."""
    return hashlib.blake2b(payload, digest_size=CHECK).digest()
