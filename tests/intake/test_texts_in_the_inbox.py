"""New texts out of tables: taken by their content and once, bought within the allowance, whatever kills it."""

import csv
import json
from pathlib import Path

import pytest
from support import bill
from support.refreshes import Refreshing, dies, ids

from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs import texts
from tuition.sources.additions import digest, listed
from tuition.tables import read_rows
from tuition.workspace import Split

TEACHER = """
def scores(texts, keys, classes):
    with open("bill.txt", "a") as bill:
        bill.writelines(f"{key}\\n" for key in keys)
    return [[float("good" in text), float("bad" in text)] for text in texts]
"""
PARAMS = """
study: {budgets: [4], methods: [kd], seeds: [0]}
data: {source: "csv:pool.csv", columns: {text: [title, body], template: "{title}: {body}", label: kind}}
teacher: {kind: python, name: mine, function: "mine:scores", batch_size: 2, canary: 2}
student: {arch: ngram}
methods: {kd: {}}
refresh: {inbox: inbox, allowance: 5, strategy: kcenter}
"""
COLUMNS = ["title", "body", "kind"]


def write_table(path, rows):
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


@pytest.fixture
def refreshing(tmp_path, monkeypatch):
    """A prepared pool of 60 texts, of which every third has a label, and an inbox with eight new ones and what is none."""
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(TEACHER)
    Path("params.yaml").write_text(PARAMS)
    rows = [(f"text {n}", f"a {kind} one", kind if n % 3 == 0 else "") for n in range(30) for kind in ("good", "bad")]
    write_table(Path("pool.csv"), rows)
    here = Refreshing(tmp_path, "")
    here.run("prepare")
    held = {split: next(row for row in rows if f"{row[0]}: {row[1]}" in samples(split)) for split in ("train", "test")}
    new = [(f"new {n}", 'good "and"\nbad 🙂', "") for n in range(6)]
    write_table(Path("inbox/monday.csv"), [*new, new[0], held["train"], held["test"], ("", " ", "good")])
    lines = [
        {"title": "labelled", "body": "bad", "kind": "bad"},
        {"title": 7, "body": None},
        {"body": [1], "title": "x"},
    ]
    Path("inbox/tuesday.jsonl").write_text("\n".join(map(json.dumps, lines)))
    Path("inbox/notes.txt").write_text("not meant")
    return here


def samples(split):
    return set(texts.read(Split(Path("data") / split).path))


def test_new_texts_are_taken_by_their_content_and_bought_within_the_allowance(refreshing):
    told = refreshing.take()
    assert (told["new"], told["files"], told["of"]) == (8, 14, "rows")
    assert told["duplicates"] == {"inbox": 1, "test": 1, "train": 1}
    assert told["classes"] == {"bad": 1}
    rejected = {row["file"]: row["reason"] for row in read_rows(Path("refresh/rejected.csv"))}
    assert rejected == {
        "monday.csv row 9": "holds no text",
        "tuesday.jsonl row 2": "holds list, expected text",
        "notes.txt": "not a table: csv, jsonl, parquet, arrow",
    }
    assert samples("train") >= {'new 3: good "and"\nbad 🙂', "labelled: bad", "7: "}
    assert read_json(Path("data/train/meta.json"))["additions"] == 8
    assert refreshing.take()["new"] == 0

    plan = refreshing.plan()
    assert (plan["new"], plan["later"], plan["calls"]) == (5, 3, 5)
    for _ in range(2):  # a purchase and a plan that are made again buy nothing
        refreshing.teach()
        assert len(bill(refreshing.folder)) == 5
        assert refreshing.plan()["left"] == 0
    positions = read_array(Path(f"outputs/{refreshing.budget}/positions.npy"))
    assert {ids()[row] for row in positions} <= {id for id, _ in listed(Path("additions"))}


def test_a_take_that_is_killed_is_brought_to_its_end(refreshing):
    expected = None
    for at in (1, 5, 9, 12, 17, 18):  # aside, the note, in place, params.yaml
        died = dies(at, "intake", "take")
        refreshing.run("intake", "take")
        found = listed(Path("additions"))
        assert parameters.load().data.additions.digest == digest(found)
        assert len(found) == 8
        assert expected in (None, found)
        expected = found
        assert died
        for file in Path("additions").rglob("*.txt"):
            file.unlink()
        Path("params.yaml").write_text(PARAMS)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("a", "b", "ugly")], "'ugly': a class never seen; valid: bad, good, or no label"),
        ([("a", "b", " GOOD")], "'GOOD': a class never seen"),
    ],
)
def test_a_class_never_seen_is_refused_and_nothing_is_taken(refreshing, rows, said):
    write_table(Path("inbox/wrong.csv"), rows)
    with pytest.raises(UserError, match=said):
        refreshing.run("intake", "take")
    assert not Path("additions").exists()


def test_tables_that_cannot_be_read_are_told_and_nothing_is_taken(refreshing):
    Path("inbox/wrong.csv").write_bytes("title,body,kind\nä,b,\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"refresh.inbox: wrong.csv: not UTF-8: byte 0xe4 in line 2"):
        refreshing.run("intake", "take")
    Path("inbox/wrong.csv").write_text("headline,body\na,b\n")
    with pytest.raises(
        UserError, match=r"refresh.inbox: wrong.csv: column: 'title' is not known. Valid: body, headline"
    ):
        refreshing.run("intake", "take")
    with pytest.raises(UserError, match="texts are taken from a folder or table on this machine"):
        refreshing.run("intake", "take", "--inbox", "s3://team/new")
    with pytest.raises(UserError, match=r"refresh.inbox: inbox/notes.txt: not a table"):
        refreshing.run("intake", "take", "--inbox", "inbox/notes.txt")
    assert not Path("additions").exists()


def test_a_text_that_was_changed_is_refused(refreshing):
    refreshing.take()
    path = next(Path("additions").glob("*.txt"))
    path.write_text("another")
    with pytest.raises(UserError, match=f"{path.name}: its text is not that of its name"):
        refreshing.run("prepare")
