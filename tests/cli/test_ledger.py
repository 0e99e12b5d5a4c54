"""`tuition ledger …`: what it prints for people and as JSON, and how it exits."""

import json
import os

import numpy as np
import pytest
from typer.testing import CliRunner

from tuition.cli.__main__ import app
from tuition.ledger import accounts, calls, owned
from tuition.ledger.calls import Answer
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request, key_of
from tuition.ledger.schema import parts
from tuition.ledger.spending import Bound, Caps
from tuition.origins import Origins, write_origins
from tuition.workspace import Workspace

IDS = [f"{i:064x}" for i in range(20)]
REQUESTS = [Request(id) for id in IDS]
FIRST, SECOND = "ab" * 32, "cd" * 32
CAPS = Caps(Bound(calls=100, cost=20_000_000), Bound(tokens=500), "week")


def fill(place: str | None = None, mark: str = FIRST, first: int = 0) -> None:
    """Five calls: three good ones, one malformed, one unknown, and one more that is refunded. Each 4 tokens and 0.25, at most 10 and 1."""
    ledger = open_ledger(place)
    id = accounts.open_account(ledger, mark, f"teacher {mark[:2]}", {"kind": "test"}, CAPS)
    run = calls.start_run(ledger, id, 100)
    made = calls.reserve(ledger, run, REQUESTS[first : first + 6], tokens=10, cost=1_000_000)
    calls.mark_sent(ledger, run, made)
    answer = Answer({"logits": np.ones(3, np.float32)}, tokens=4, cost=250_000)
    bad = Answer({}, "NaN or \x1b[31minfinity", b'{"scores": \xff}', tokens=4, cost=250_000)
    calls.finish(ledger, run, made[:4], [answer, answer, answer, bad])
    calls.abandon(ledger, run, made[4:5], "no answer in time")
    calls.refund(ledger, run, made[5:], "429")
    ledger.close()


def tuition(*args, code: int = 0) -> str:
    """What it prints; on stderr where it fails."""
    ran = CliRunner().invoke(app, ["ledger", *map(str, args)])
    assert ran.exit_code == code, (ran.output, ran.exception)
    assert "Traceback" not in ran.output
    return ran.stderr if code else ran.stdout


def as_json(*args, code: int = 0) -> dict:
    ran = CliRunner().invoke(app, ["ledger", *map(str, args), "--json"])
    assert ran.exit_code == code, (ran.output, ran.exception)
    return json.loads(ran.stdout)


EMPTY = ["calls", "unknown", "resolve refunded", "verify", "export out", "merge other.db"]


@pytest.mark.parametrize("command", EMPTY)
def test_without_a_ledger_none_is_made(tmp_path, command):
    said = tuition(*command.split(), code=2)
    assert said.startswith("error: ledger ")
    assert not os.path.exists(tmp_path / "ledger.db")


def test_status(monkeypatch):
    assert as_json("status") == {"teachers": []}
    assert "nothing bought yet" in tuition("status")
    fill()
    (found,) = as_json("status")["teachers"]
    assert found["fingerprint"] == FIRST
    assert found["calls"] == {"done": 4, "refunded": 1, "unknown": 1, "reserved": 0}
    assert (found["tokens"], found["cost"], found["samples"]) == (16, 1.0, 3)
    assert found["held"] == {"tokens": 10, "cost": 1.0}
    assert found["caps"] == {
        "calls": 100,
        "tokens": None,
        "money": 20.0,
        "period": {"every": "week", "calls": None, "tokens": 500, "money": None},
    }
    assert found["period"] == {"every": "week", "calls": 5, "tokens": 26, "money": 2.0}
    said = tuition("status")
    assert "4 done, 1 refunded, 1 unknown, 0 reserved; 3 samples owned; cost 1, 16 tokens" in said
    assert "(at most 1 and 10 tokens more" in said
    assert "cap 100 calls, 20 money; cap 500 tokens a week" in said
    assert "this week: 5 calls, 26 tokens, 2 money" in said
    assert "unknown calls count as spent: see `tuition ledger unknown`" in said


def test_calls():
    fill()
    every = as_json("calls")["calls"]
    assert [one["state"] for one in every] == ["refunded", "unknown", "done", "done", "done", "done"]
    first = every[-1]
    assert (first["sample"], first["view"], first["tokens"], first["cost"]) == (IDS[0], "clean", 4, 0.25)
    assert first["key"] == key_of(FIRST, REQUESTS[0])
    assert first["pid"] == os.getpid()
    assert [one["id"] for one in as_json("calls", "--limit", 2)["calls"]] == [6, 5]
    assert [one["id"] for one in as_json("calls", "--state", "done", "--state", "unknown")["calls"]] == [5, 4, 3, 2, 1]
    assert [one["id"] for one in as_json("calls", "--malformed")["calls"]] == [4]
    said = tuition("calls", "--malformed")
    assert f"4  20{said[5:22].strip()} done  sample {IDS[3][:16]} clean  key {key_of(FIRST, REQUESTS[3])}" in said
    assert "cost 0.25 4 tokens  malformed: NaN or ·[31minfinity" in said  # what a server says moves no terminal
    assert said.endswith("1 calls of teacher ab\n")
    tuition("calls", "--state", "lost", code=2)
    tuition("calls", "--limit", 0, code=2)


def test_calls_name_the_file_that_a_sample_came_from(tmp_path, monkeypatch):
    fill()
    monkeypatch.chdir(tmp_path)
    ids = np.array([IDS[3], IDS[0]], dtype="S64")
    write_origins(Workspace().split("train").files, ids, Origins.of_files(["cats/a.jpg", "b\n.jpg"]))
    found = {one["sample"]: one["file"] for one in as_json("calls")["calls"]}
    assert (found[IDS[3]], found[IDS[0]], found[IDS[1]]) == ("cats/a.jpg", "b\n.jpg", None)
    assert "  cats/a.jpg  cost 0.25" in tuition("calls", "--malformed")


def test_a_rejected_answer():
    fill()
    assert tuition("calls", "--answer", 4).endswith('infinity\n{"scores": \N{REPLACEMENT CHARACTER}}\n')
    assert as_json("calls", "--answer", 4) == {
        "call": 4,
        "reason": "NaN or \x1b[31minfinity",
        "answer": '{"scores": \N{REPLACEMENT CHARACTER}}',
    }
    assert "call 1 has no rejected answer; see `tuition ledger calls --malformed`" in tuition(
        "calls", "--answer", 1, code=2
    )


def test_which_teacher():
    fill()
    fill(mark=SECOND)
    listed = "Teachers: abababababab teacher ab; cdcdcdcdcdcd teacher cd"
    for command in (["resolve", "refunded"], ["export", "out"]):
        said = tuition(*command, code=2)
        assert "it holds 2 teachers, expected one: give --teacher" in said
        assert listed in said
    assert as_json("unknown", "--teacher", "cd")["calls"][0]["key"] == key_of(SECOND, REQUESTS[4])
    assert "0 teachers match 'ef'" in tuition("resolve", "charged", "--teacher", "ef", code=2)
    assert len(as_json("status")["teachers"]) == 2


def test_calls_of_each_teacher():
    fill()
    fill(mark=SECOND)
    bad = as_json("calls", "--malformed")["calls"]
    assert [(one["teacher"], one["id"]) for one in bad] == [(FIRST, 4), (SECOND, 10)]
    said = tuition("calls", "--malformed")
    assert "1 calls of teacher ab\n10  20" in said
    assert said.endswith("1 calls of teacher cd\n")
    assert [one["id"] for one in as_json("calls", "--limit", 1)["calls"]] == [6, 12]
    assert {one["teacher"] for one in as_json("unknown")["calls"]} == {FIRST, SECOND}
    assert "1 unknown calls of teacher ab\n" in tuition("unknown")
    assert "1 unknown calls of" not in tuition("calls", "--teacher", "cd")


def test_unknown():
    fill()
    (lost,) = as_json("unknown")["calls"]
    assert (lost["id"], lost["detail"], lost["cost"], lost["tokens"]) == (5, "no answer in time", 1.0, 10)
    said = tuition("unknown")
    assert "1 unknown calls" in said
    assert "tuition ledger resolve refunded --call ID" in said
    tuition("resolve", "refunded")
    assert as_json("unknown") == {"calls": []}
    assert tuition("unknown") == "0 unknown calls of teacher ab\n"


@pytest.mark.parametrize(
    ("options", "spent", "state"),
    [
        (["charged"], (5, 26, 2_000_000), "unusable"),
        (["charged", "--cost", "0"], (5, 26, 1_000_000), "unusable"),
        (["charged", "--cost", "0.3"], (5, 26, 1_300_000), "unusable"),
        (["refunded"], (4, 16, 1_000_000), None),
        (["refunded", "--call", "5"], (4, 16, 1_000_000), None),
    ],
)
def test_resolve(options, spent, state):
    """Charged, and nobody says how much: what was held back for it stays spent."""
    fill()
    assert as_json("resolve", *options) == {"resolved": 1, "outcome": options[0]}
    ledger = open_ledger()
    teacher = accounts.find(ledger, None)
    assert (teacher.spent, teacher.spent_tokens, teacher.spent_cost) == spent
    assert owned.standing(ledger, teacher.id, REQUESTS[4:5]).state(REQUESTS[4]) == state
    assert accounts.verify(ledger) == []
    assert as_json("resolve", *options)["resolved"] == 0


def test_malformed_calls_are_given_back_and_bought_again():
    fill()
    for wrong in (["charged", "--malformed"], ["refunded", "--malformed", "--cost", "0"]):
        assert "--malformed: goes with `refunded`" in tuition("resolve", *wrong, code=2)
    assert as_json("resolve", "refunded", "--malformed", "--call", 1, "--call", 5)["resolved"] == 0  # owned; unknown
    assert as_json("resolve", "refunded", "--malformed") == {"resolved": 1, "outcome": "refunded"}
    assert as_json("resolve", "refunded", "--malformed")["resolved"] == 0
    ledger = open_ledger()
    teacher = accounts.find(ledger, None)
    assert (teacher.spent, teacher.spent_tokens, teacher.spent_cost) == (4, 22, 1_750_000)
    assert as_json("status")["teachers"][0]["period"] == {"every": "week", "calls": 4, "tokens": 22, "money": 1.75}
    assert as_json("calls", "--malformed")["calls"] == []
    assert "infinity" in tuition("calls", "--answer", 4), "what came is kept"
    run = calls.start_run(ledger, teacher.id, 100)
    (made,) = calls.reserve(ledger, run, REQUESTS[:5])
    assert made.request == REQUESTS[3], "and nothing else"
    assert accounts.verify(ledger) == []


def test_resolve_of_what_is_not_unknown_changes_nothing():
    fill()
    assert as_json("resolve", "refunded", "--call", 1, "--call", 4) == {"resolved": 0, "outcome": "refunded"}
    assert as_json("status")["teachers"][0]["calls"]["done"] == 4
    assert "1 calls of teacher ab resolved as refunded; `dvc repro -f -s teach@<budget>` buys them" in tuition(
        "resolve", "refunded"
    )
    for wrong in (
        ["lost"],
        ["charged", "--cost", "-1"],
        ["charged", "--cost", "nan"],
        ["charged", "--cost", "much"],
        [],
    ):
        tuition("resolve", *wrong, code=2)


def test_verify(tmp_path):
    fill()
    assert tuition("verify") == "the books are right\n"
    assert as_json("verify") == {"wrong": []}
    tuition("export", tmp_path / "out")
    ledger = open_ledger()
    with ledger.write() as db:
        db.execute(parts.update().values(payload=os.urandom(36)))
        db.exec_driver_sql("UPDATE teachers SET spent = 3, spent_cost = 7")
    said = tuition("verify", code=2)
    assert "live calls come to 5 calls, but 3 are counted as spent" in said
    assert "live calls come to 2000000 millionths, but 7" in said
    assert "3 outputs do not match their checksums (logits of 000" in said
    assert len(as_json("verify", code=2)["wrong"]) == 3
    tuition("import", tmp_path / "out")
    assert [text.split(":")[0] for text in as_json("verify", code=2)["wrong"]] == ["teacher ab"] * 2


def test_export_and_import(tmp_path, monkeypatch):
    fill()
    assert as_json("export", tmp_path / "out") == {"samples": 3, "left_out": {}}
    assert "is a file or not empty" in tuition("export", tmp_path / "out", code=2)
    assert "Valid: logits" in tuition("export", tmp_path / "more", "--signals", "logits,maps", code=2)
    monkeypatch.setenv("TUITION_LEDGER", str(tmp_path / "new.db"))
    assert as_json("import", tmp_path / "out") == {"folders": {str(tmp_path / "out"): {"taken": 3, "held": 0}}}
    assert tuition("import", tmp_path / "out") == f"{tmp_path / 'out'}: 0 samples taken, 3 were owned already\n"
    (found,) = as_json("status")["teachers"]
    assert (found["calls"]["done"], found["samples"], found["cost"]) == (3, 3, 0.75)
    assert "meta.json" in tuition("import", tmp_path / "nothing", code=2)


def test_merge(tmp_path):
    fill()
    fill(str(tmp_path / "other.db"), first=2)
    fill(str(tmp_path / "other.db"), mark=SECOND)
    # Of the first teacher's 2 to 6: 2 is owned here, 3 was malformed and 4 unknown here, 5 is malformed there, 6 is unknown there.
    counts = {"taken": 5, "held": 1, "spent": 4, "damaged": 0}
    assert as_json("merge", tmp_path / "other.db") == counts
    assert as_json("verify") == {"wrong": []}
    first, second = as_json("status")["teachers"]
    assert first["calls"] == {"done": 6, "refunded": 1, "unknown": 1, "reserved": 0}
    assert (first["samples"], first["cost"], second["samples"], second["cost"]) == (5, 1.5, 3, 1.0)
    said = tuition("merge", tmp_path / "other.db")
    assert said == "0 samples taken, 6 were owned already, 0 more calls count as spent\n"
    assert "no such file" in tuition("merge", tmp_path / "missing.db", code=2)
    assert "cannot be merged with itself" in tuition("merge", tmp_path / "ledger.db", code=2)
    (tmp_path / "text.db").write_text("this is no ledger" * 20)
    assert "not a database" in tuition("merge", tmp_path / "text.db", code=2)
    assert "is no ledger" in tuition("merge", "mysql://u:secret@host/db", code=2)


def test_calls_of_a_process_that_died_are_settled_before_they_are_listed():
    fill()
    ledger = open_ledger()
    run = calls.start_run(ledger, 1, 10)
    calls.mark_sent(ledger, run, calls.reserve(ledger, run, REQUESTS[10:12]))
    with ledger.write() as db:
        db.exec_driver_sql(f"UPDATE runs SET pid = 4194305, process_started = 1 WHERE id = {run}")
    assert len(as_json("calls", "--state", "unknown")["calls"]) == 3
    assert as_json("resolve", "refunded")["resolved"] == 3
