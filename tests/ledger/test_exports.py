"""Owned outputs to files and back."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import sqlalchemy as sa
from support.answers import at_cost

from tuition.errors import UserError
from tuition.ledger import accounts, blocks, calls, exports, imports, owned
from tuition.ledger.calls import Answer
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.schema import calls as table
from tuition.ledger.schema import parts
from tuition.ledger.spending import Bound, Caps

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(20)]
REQUESTS = [Request(id) for id in IDS]


@pytest.fixture
def exported(tmp_path, new_place):
    ledger = open_ledger()
    id = accounts.open_account(ledger, "ef" * 32, "t", {"kind": "test"}, None)
    run = calls.start_run(ledger, id, 20)
    made = calls.reserve(ledger, run, REQUESTS)
    calls.mark_sent(ledger, run, made)
    values = np.random.default_rng(0).normal(size=(20, 10)).astype(np.float32)
    calls.finish(ledger, run, made, at_cost([Answer({"logits": row, "embedding": row[:4]}) for row in values], 0.25))
    assert exports.export(ledger, tmp_path / "out", None) == (20, {})
    return tmp_path / "out"


def test_an_export_gives_ownership_to_a_new_ledger_and_only_once(exported, new_place):
    new = open_ledger(new_place())
    assert imports.import_folder(new, exported) == (20, 0)
    assert imports.import_folder(new, exported) == (0, 20)
    account = accounts.find(new, None)
    places, signals, costs = owned.read(new, account.id, REQUESTS)
    assert np.array_equal(signals["logits"], np.load(exported / "logits.npy"))
    assert np.array_equal(signals["embedding"], np.load(exported / "embedding.npy"))
    assert (len(places), costs.sum()) == (20, 5_000_000)
    assert calls.reserve(new, calls.start_run(new, account.id, 20), REQUESTS) == []
    assert accounts.verify(new) == []


def test_signals_that_only_some_samples_have_are_left_out_or_asked_for_and_can_be_taken_in_later(
    exported, tmp_path, new_place
):
    ledger = open_ledger()
    account = accounts.find(ledger, None)
    further = [request.further(["energy1"]) for request in REQUESTS]
    run = calls.start_run(ledger, account.id, 5)
    made = calls.reserve(ledger, run, further[:5])
    calls.mark_sent(ledger, run, made)
    energy = np.random.default_rng(1).random((5, 3, 3)).astype(np.float16)
    calls.finish(ledger, run, made, at_cost([Answer({"energy1": one}) for one in energy], 0.0))
    standing = owned.standing(ledger, account.id, REQUESTS[4:6])
    assert {request: standing.signals(request) for request in REQUESTS[4:6]} == {
        REQUESTS[4]: {"logits", "embedding", "energy1"},
        REQUESTS[5]: {"logits", "embedding"},
    }
    assert exports.export(ledger, tmp_path / "all", None) == (20, {"energy1": 5})
    assert exports.export(ledger, tmp_path / "some", None, ["logits", "energy1"]) == (5, {"embedding": 20})
    with pytest.raises(UserError, match=r"signals: 'energi1' is not known\. Did you mean 'energy1'"):
        exports.export(ledger, tmp_path / "none", None, ["energi1"])

    new = open_ledger(new_place())
    assert imports.import_folder(new, tmp_path / "all") == (20, 0)
    assert imports.import_folder(new, tmp_path / "some") == (5, 0)
    assert imports.import_folder(new, tmp_path / "some") == (0, 5)
    id = accounts.find(new, None).id
    _, signals, costs = owned.read(new, id, REQUESTS, signals=["energy1", "logits"])
    assert np.array_equal(signals["energy1"], energy)
    assert signals["energy1"].dtype == np.float16
    assert np.array_equal(signals["logits"], np.load(exported / "logits.npy")[:5])
    assert costs.sum() == 5 * 250_000  # a sample's cost once, though two calls brought it
    assert accounts.verify(new) == []


def test_an_import_mends_a_lost_call(exported, new_place):
    new = open_ledger(new_place())
    id = accounts.open_account(new, "ef" * 32, "t", {"kind": "test"}, Caps(Bound(calls=100)))
    run = calls.start_run(new, id, 2)
    made = calls.reserve(new, run, REQUESTS[:2])
    calls.mark_sent(new, run, made)
    calls.abandon(new, run, made, "lost")
    assert imports.import_folder(new, exported) == (20, 0)
    assert accounts.status(new)[0]["calls"] == {"done": 20, "refunded": 0, "unknown": 0, "reserved": 0}
    assert accounts.status(new)[0]["cap"] == 100
    assert accounts.verify(new) == []


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda out: (out / "ids.npy").unlink(), r"ids\.npy.*no such file"),
        (lambda out: (out / "meta.json").write_text("{}"), "this is no export"),
        (lambda out: (out / "logits.npy").write_bytes((out / "logits.npy").read_bytes()[:200]), r"logits\.npy"),
        (lambda out: np.save(out / "logits.npy", np.ones((3, 10))), r"\(3, 10\), but ids.npy has 20 rows"),
        (lambda out: np.save(out / "logits.npy", np.full((20, 10), np.nan)), "NaN"),
        (lambda out: np.save(out / "ids.npy", np.arange(20)), "S64"),
        (
            lambda out: np.save(out / "costs.npy", np.full(20, 2**62)),
            r"costs\.npy: found 4611686018427387904, expected millionths",
        ),
    ],
)
def test_a_damaged_export_is_named_and_nothing_taken(exported, new_place, damage, match):
    damage(exported)
    new = open_ledger(new_place())
    with pytest.raises(UserError, match=match):
        imports.import_folder(new, exported)
    assert accounts.status(new) == []


def tuition(*args):
    command = [sys.executable, "-m", "tuition.cli", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_console(exported, tmp_path, monkeypatch, new_place):
    found = json.loads(tuition("ledger", "status", "--json").stdout)["teachers"]
    assert [(t["fingerprint"], t["name"], t["samples"], t["cost"]) for t in found] == [("ef" * 32, "t", 20, 5.0)]
    assert found[0]["calls"] == {"done": 20, "refunded": 0, "unknown": 0, "reserved": 0}
    assert "20 samples owned" in tuition("ledger", "status").stdout
    assert tuition("ledger", "verify").returncode == 0
    refused = tuition("ledger", "export", exported)
    assert (refused.returncode, "not empty" in refused.stderr) == (2, True)
    monkeypatch.setenv("TUITION_LEDGER", str(tmp_path / "none" / "l.db"))
    assert json.loads(tuition("ledger", "status", "--json").stdout) == {"teachers": []}
    assert not os.path.exists(tmp_path / "none")  # asking makes no ledger
    assert tuition("ledger", "resolve", "refunded").returncode == 2
    assert "20 samples taken" in tuition("ledger", "import", exported).stdout
    monkeypatch.setenv("TUITION_LEDGER", new_place())
    assert "20 samples taken" in tuition("ledger", "import", exported).stdout


def test_an_import_mends_a_damaged_output_that_the_audit_finds(exported):
    ledger = open_ledger()
    assert corrupt(ledger, "logits", IDS[3:4]) == 1
    assert "1 outputs do not match" in accounts.verify(ledger)[0]
    assert imports.import_folder(ledger, exported) == (1, 19)
    assert accounts.verify(ledger) == []
    assert np.array_equal(owned.read(ledger, 1, REQUESTS)[1]["logits"], np.load(exported / "logits.npy"))


def corrupt(ledger, signal, samples):
    """Flip a byte of stored outputs, as a bad disk does; returns how many."""
    hit = 0
    with ledger.write() as db:
        held = sa.select(parts, table.c.place, table.c.sample).join(table, table.c.block_id == parts.c.block_id)
        for row in db.execute(held.where(parts.c.signal == signal)).all():
            if row.sample.hex() not in samples:
                continue
            where = (parts.c.block_id == row.block_id, parts.c.signal == signal)
            payload = bytearray(db.scalar(sa.select(parts.c.payload).where(*where)))
            at = row.place * (len(payload) * blocks.CHECK // len(row.checksums))
            payload[at] ^= 1
            hit += db.execute(parts.update().where(*where).values(payload=bytes(payload))).rowcount
    return hit


def test_an_import_mends_what_is_damaged_and_leaves_what_is_whole(exported, tmp_path):
    """An export of logits alone must not take the embedding away; a damaged further signal is mended in its own call."""
    ledger = open_ledger()
    account = accounts.find(ledger, None)
    embedding = np.load(exported / "embedding.npy")
    exports.export(ledger, tmp_path / "logits", None, ["logits"])
    assert corrupt(ledger, "logits", IDS[:2]) == 2
    assert imports.import_folder(ledger, tmp_path / "logits") == (2, 18)
    assert accounts.verify(ledger) == []
    assert np.array_equal(owned.read(ledger, account.id, REQUESTS)[1]["embedding"], embedding)

    further = [request.further(["energy1"]) for request in REQUESTS]
    run = calls.start_run(ledger, account.id, 3)
    made = calls.reserve(ledger, run, further[:3])
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made[:2], at_cost([Answer({"energy1": np.ones(4, np.float16)})] * 2, 0.0))
    calls.abandon(ledger, run, made[2:], "lost")  # live, and without an output
    exports.export(ledger, tmp_path / "energy", None, ["energy1"])
    assert corrupt(ledger, "energy1", IDS[:1]) > 0
    assert imports.import_folder(ledger, tmp_path / "energy") == (1, 1)
    assert accounts.verify(ledger) == []

    np.save(tmp_path / "energy/ids.npy", np.array([one.encode() for one in IDS[1:3]], dtype="S64"))
    assert imports.import_folder(ledger, tmp_path / "energy") == (
        1,
        1,
    )  # the call that was lost is mended, not made anew
    assert owned.standing(ledger, account.id, further[:3]).states(further[:3]) == dict.fromkeys(further[:3], "owned")
    assert accounts.verify(ledger) == []
