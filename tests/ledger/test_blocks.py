"""How outputs are stored: together where they are alike, each with a checksum of its own, and damage found to the output."""

from contextlib import suppress

import numpy as np
import pytest
import sqlalchemy as sa

from tuition.ledger import accounts, blocks, calls, owned
from tuition.ledger.calls import Answer
from tuition.ledger.database import LedgerError, open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.schema import calls as table
from tuition.ledger.schema import parts

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(200)]
REQUESTS = [Request(id) for id in IDS]


@pytest.fixture
def ledger(new_place):
    opened = open_ledger()
    yield opened
    opened.close()


def own(ledger, outputs: list[dict[str, np.ndarray]]) -> int:
    """Own these, one a sample, committed together; returns the teacher's id."""
    id = accounts.open_account(ledger, "ab" * 32, "t", {}, None)
    run = calls.start_run(ledger, id, 1000)
    made = calls.reserve(ledger, run, REQUESTS[: len(outputs)])
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, [Answer(one) for one in outputs])
    return id


def stored(ledger) -> list[tuple]:
    """(signal, type, bytes of the payload, bytes of the checksums) of every part."""
    with ledger.read() as db:
        rows = db.execute(sa.select(parts).order_by(parts.c.block_id, parts.c.signal)).all()
    return [(row.signal, row.type, len(row.payload), len(row.checksums)) for row in rows]


KINDS = [
    np.float32(1.5),
    np.arange(3, dtype=np.float16),
    np.arange(12, dtype=np.uint8).reshape(3, 4),
    np.zeros((0,), np.float32),
    np.arange(8, dtype=np.float64).reshape(2, 2, 2),
    np.array([True, False]),
    np.arange(6, dtype=">i4"),
    np.arange(20, dtype=np.float32)[::2],
    np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
]


@pytest.mark.parametrize("value", KINDS, ids=lambda one: f"{one.dtype}{one.shape}")
def test_what_is_stored_is_read_back_as_it_was(ledger, value):
    id = own(ledger, [{"logits": np.asarray(value)}] * 3)
    places, signals, _ = owned.read(ledger, id, REQUESTS[:5])
    assert places.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(signals["logits"], np.stack([value] * 3))
    assert signals["logits"].dtype == value.dtype.newbyteorder("=")
    assert accounts.verify(ledger) == []


def test_outputs_that_are_alike_lie_together_and_others_apart(ledger):
    """Signals, types and shapes may differ from answer to answer; places are told by the call, not by the order."""
    rng = np.random.default_rng(0)
    small, half = (rng.normal(size=10).astype(np.float32) for _ in range(2))
    outputs = [
        {"logits": small, "embedding": half.astype(np.float16)},
        {"logits": half},
        {"logits": small.astype(np.float16)},
        {"embedding": small.astype(np.float16), "logits": half},
        {"logits": small[:3]},
        {"logits": small},
    ]
    id = own(ledger, outputs)
    assert len({(name, type) for name, type, _, _ in stored(ledger)}) == 4
    assert len(stored(ledger)) == 7  # five kinds of answers; two orders of the same signals are two
    for i, output in enumerate(outputs):
        _, signals, _ = owned.read(ledger, id, [REQUESTS[i]])
        assert set(signals) == set(output)
        for name, value in output.items():
            np.testing.assert_array_equal(signals[name][0], value)
            assert signals[name].dtype == value.dtype
    assert accounts.verify(ledger) == []


def test_large_parts_are_split(ledger, monkeypatch):
    monkeypatch.setattr(blocks, "LARGEST", 1000)
    values = np.random.default_rng(0).normal(size=(100, 20)).astype(np.float32)
    id = own(ledger, [{"map": one, "logits": one[:2]} for one in values])
    sizes = {(name, size, sums) for name, _, size, sums in stored(ledger)}
    assert sizes == {("map", 960, 96), ("logits", 96, 96), ("map", 320, 32), ("logits", 32, 32)}
    _, signals, _ = owned.read(ledger, id, REQUESTS[:100])
    np.testing.assert_array_equal(signals["map"], values)
    np.testing.assert_array_equal(signals["logits"], values[:, :2])


def test_one_output_larger_than_a_part_is_stored_all_the_same(ledger, monkeypatch):
    monkeypatch.setattr(blocks, "LARGEST", 10)
    id = own(ledger, [{"map": np.arange(100.0)}] * 2)
    assert len(stored(ledger)) == 2
    np.testing.assert_array_equal(owned.read(ledger, id, REQUESTS[:2])[1]["map"], [np.arange(100.0)] * 2)


def test_only_the_signals_that_are_asked_for_are_read(ledger):
    id = own(ledger, [{"logits": np.ones(2), "embedding": np.zeros(3)}] * 4)
    with ledger.write() as db:
        db.execute(parts.update().where(parts.c.signal == "embedding").values(payload=b"damaged"))
    assert list(owned.read(ledger, id, REQUESTS[:4], signals=["logits"])[1]) == ["logits"]
    with pytest.raises(LedgerError, match=r"'embedding' of sample 0.* is damaged"):
        owned.read(ledger, id, REQUESTS[:4])


def damage(ledger, change, signal="logits") -> None:
    """Let `change(payload, checksums, type)` have the stored part."""
    with ledger.write() as db:
        row = db.execute(sa.select(parts).where(parts.c.signal == signal)).one()
        payload, sums, type = change(bytearray(row.payload), bytearray(row.checksums), row.type)
        where = (parts.c.block_id == row.block_id, parts.c.signal == signal)
        db.execute(parts.update().where(*where).values(payload=bytes(payload), checksums=bytes(sums), type=type))


def flip(at):
    def change(payload, sums, type):
        payload[at] ^= 4
        return payload, sums, type

    return change


@pytest.mark.parametrize(
    ("change", "number"),
    [
        (flip(0), 1),
        (flip(8 * 40 - 1), 1),
        (lambda payload, sums, type: (payload, b"\0" * 8 + sums[8:], type), 1),
        (lambda payload, sums, type: (payload[: 40 * 5], sums, type), 3),
        (lambda payload, sums, type: (payload[: 40 * 5 + 3], sums, type), 3),
        (lambda payload, sums, type: (payload, sums[:-3], type), 1),
        (lambda payload, sums, type: (payload + b"more", sums, type), 0),
        (lambda payload, sums, type: (b"", b"", type), 8),
        (lambda payload, sums, type: (payload, sums, "float64[10]"), 8),
        (lambda payload, sums, type: (payload, sums, "float3[10]"), 8),
        (lambda payload, sums, type: (payload, sums, "flo"), 8),
        (lambda payload, sums, type: (payload, sums, "float32[999999999999999999999]"), 8),
    ],
)
def test_damage_is_found_to_the_output(ledger, change, number):
    values = np.random.default_rng(0).normal(size=(8, 10)).astype(np.float32)
    id = own(ledger, [{"logits": one, "embedding": one[:3]} for one in values])
    damage(ledger, change)
    wrong = accounts.verify(ledger)
    assert [text.split(" outputs")[0] for text in wrong] == ([str(number)] if number else [])
    whole = []
    for i in range(8):
        with suppress(LedgerError):
            whole.append(i)
            np.testing.assert_array_equal(owned.read(ledger, id, [REQUESTS[i]])[1]["logits"][0], values[i])
            continue
        whole.pop()
    assert len(whole) == 8 - number


@pytest.mark.parametrize("change", [flip(45), lambda payload, sums, type: (payload[:100], sums, type)])
def test_a_damaged_output_is_mended_in_its_place(ledger, change):
    values = np.random.default_rng(0).normal(size=(8, 10)).astype(np.float32)
    id = own(ledger, [{"logits": one} for one in values])
    damage(ledger, change)
    with ledger.write() as db:
        for part in list(blocks.read(db, [1])):
            bad = [at for at in range(8) if not part.is_whole(at)]
            for at in bad:
                blocks.mend(db, part, at, values[at])
    assert accounts.verify(ledger) == []
    np.testing.assert_array_equal(owned.read(ledger, id, REQUESTS[:8])[1]["logits"], values)


def test_a_lost_part_is_found(ledger):
    own(ledger, [{"logits": np.ones(3)}] * 5)
    with ledger.write() as db:
        db.execute(parts.delete())
    assert accounts.verify(ledger) == ["5 calls are done without an output"]


def test_an_output_that_is_stored_again_replaces_the_first(ledger):
    id = own(ledger, [{"logits": np.ones(3, np.float32)}] * 2)
    with ledger.write() as db:
        first = db.scalar(sa.select(sa.func.min(table.c.id)))
        blocks.store(db, [(first, {"logits": np.zeros(3, np.float32)})])
    assert owned.read(ledger, id, REQUESTS[:2])[1]["logits"].tolist() == [[0] * 3, [1] * 3]
    assert accounts.verify(ledger) == []
