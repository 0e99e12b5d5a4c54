"""Tables of texts: what is kept as it was given, what is refused with the row, and what is told."""

import csv
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs import texts
from tuition.origins import read_origins
from tuition.params import Columns, Data, Student
from tuition.sources import load_source
from tuition.sources.splits import changed, write_splits
from tuition.tables import read_rows

TEXT = Columns(text="text")
ROWS = [
    ("Where is my card?", "card"),
    ('He said "no",\nand left 👋', "talk"),
    ("e\u0301 is not \u00e9", "card"),
    ("007", "talk"),
]


def write_csv(path, rows, header=("text", "label"), **how):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **how).writerows([header, *rows])
    return path


def read(path, kind="csv", **more):
    return load_source(Data(**({"source": f"{kind}:{path}", "columns": TEXT} | more)))


def test_every_kind_of_table_gives_the_same_texts(tmp_path):
    write_csv(tmp_path / "t.csv", ROWS)
    write_csv(tmp_path / "tabs.csv", ROWS, delimiter="\t")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": t, "label": c}) + "\n" for t, c in ROWS))
    table = pa.table({"text": [t for t, _ in ROWS], "label": [c for _, c in ROWS]})
    parquet.write_table(table, tmp_path / "t.parquet")
    saved = tmp_path / "saved"
    saved.mkdir()
    (saved / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    with ipc.new_stream(saved / "data.arrow", table.schema) as out:
        out.write_table(table)
    for kind, name in (
        ("csv", "t.csv"),
        ("csv", "tabs.csv"),
        ("jsonl", "t.jsonl"),
        ("parquet", "t.parquet"),
        ("hf", "saved"),
    ):
        raw = read(tmp_path / name, kind)
        assert raw.inputs == "texts"
        assert raw.parts["train"].images.tolist() == [t for t, _ in ROWS], name
        assert [raw.classes[label] for label in raw.parts["train"].labels] == [c for _, c in ROWS]


def test_rows_without_a_text_are_rejected_and_say_why(tmp_path):
    rows = [{"text": text, "label": "a"} for text in ("fine", "", " \t\n", None, ["x"], "\ud800!", 12.5, True)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = read(tmp_path / "t.jsonl", "jsonl", max_unreadable=0.9)
    assert raw.parts["train"].images.tolist() == ["fine", "12.5", "true"]
    assert raw.rejected == [
        ("t.jsonl row 1", "holds no text"),
        ("t.jsonl row 2", "holds nothing but white space"),
        ("t.jsonl row 3", "holds no text"),
        ("t.jsonl row 4", "holds list, expected text"),
        ("t.jsonl row 5", "holds half a character (U+D800), which UTF-8 does not have"),
    ]
    with pytest.raises(UserError, match=r"5 of 8 rows cannot be read \(t\.jsonl row 1: holds no text"):
        read(tmp_path / "t.jsonl", "jsonl")


def test_several_columns_are_joined_by_the_template(tmp_path):
    write_csv(tmp_path / "t.csv", [("Hi {body}", "there"), ("only", ""), ("", "")], header=("title", "body"))
    columns = Columns(text=["title", "body"], template="{title}:\n{body}")
    raw = read(tmp_path / "t.csv", columns=columns, classes=["a", "b"], max_unreadable=0.5)
    assert raw.parts["train"].images.tolist() == ["Hi {body}:\nthere", "only:\n"]
    assert raw.rejected == [("t.csv row 2", "holds no text")]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"text": ["a", "b"]}, r"data\.columns\.template: found null; .* such as '\{a\}\\\\n\{b\}'"),
        ({"text": "a", "template": "{c}"}, r"data\.columns\.template: names 'c', but data\.columns\.text is \['a'\]"),
        ({"text": "a", "input": "b"}, r"data\.columns: found input 'b' and text 'a'"),
    ],
)
def test_columns_that_do_not_go_together_are_refused(columns, told):
    with pytest.raises(ValueError, match=told):
        Columns(**columns)


def test_what_is_no_table_of_texts_is_told(tmp_path):
    write_csv(tmp_path / "t.csv", ROWS, header=("sentence", "label"))
    with pytest.raises(UserError, match=r"data\.columns\.text: 'text' is not known\..*Valid: label, sentence"):
        read(tmp_path / "t.csv")
    (tmp_path / "latin.csv").write_bytes("text,label\ncafé,a\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"not UTF-8: byte 0xe9 in line 2, at 14 bytes"):
        read(tmp_path / "latin.csv")
    (tmp_path / "wide.csv").write_bytes("text,label\na,b\n".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16, expected UTF-8"):
        read(tmp_path / "wide.csv")
    (tmp_path / "photos").mkdir()
    with pytest.raises(UserError, match=r"hf:.*"):
        read(tmp_path / "photos", "hf")


def test_duplicates_and_texts_of_test_in_train_are_counted_and_left_out(tmp_path):
    rows = [(f"text number {n}", "ab"[n % 2], "train") for n in range(40)]
    rows += [("text number 3", "b", "test"), ("text number 5", "b", "test"), ("a new one", "a", "test")]
    rows += [("text number 0", "a", "train"), ("Text, number 1!", "b", "train")]
    write_csv(tmp_path / "t.csv", rows, header=("text", "label", "split"))
    data = Data(source=f"csv:{tmp_path / 't.csv'}", columns=TEXT)
    meta = write_splits(data, tmp_path / "data")
    assert meta["inputs"] == "texts"
    assert meta["characters"] == [13, 15]
    assert (meta["duplicates"]["train_in_test"], meta["splits"]["test"]) == (2, 3)
    assert any("1 texts are another one but for case, spaces and punctuation" in one for one in meta["warnings"])
    train, ids = tmp_path / "data/train", read_array(tmp_path / "data/train/ids.npy")
    found = texts.read(train)
    assert [texts.content_id(text).encode() for text in found] == ids.tolist()
    assert "text number 3" not in found
    for text, (_, (file, row)) in zip(found, read_origins(train / "files.csv"), strict=True):
        assert (file, rows[row][0]) == ("t.csv", text)
    assert changed(data, read_json(tmp_path / "data/meta.json")) == []
    assert read_rows(tmp_path / "data/rejected.csv") == []


def test_labels_that_differ_in_case_or_spaces_are_told(tmp_path):
    write_csv(tmp_path / "t.csv", [("one", "Spam"), ("two", " spam"), ("three", "not spam"), ("four", "notspam")])
    raw = read(tmp_path / "t.csv")
    assert raw.classes == ["Spam", "not spam", "notspam", "spam"]
    trimmed, near = raw.warnings
    assert "1 labels are read without the white space around them, the first ' spam' (" in trimmed
    assert "'Spam' and 'spam'; 'not spam' and 'notspam'" in near


def test_a_text_of_ten_megabytes_is_kept_and_told(tmp_path):
    long = "many words " * 950_000
    write_csv(tmp_path / "t.csv", [("short", "a"), (long, "b")])
    raw = read(tmp_path / "t.csv")
    assert raw.parts["train"].images.tolist() == ["short", long]
    assert "1 texts have more than 100,000 characters, the longest 10,450,000" in raw.warnings[0]
    assert texts.numbers(raw.parts["train"].images, texts.own(np.array([], object), "hashed", Student())).shape == (
        2,
        1024,
    )


def test_a_pool_without_labels_beside_a_labelled_table(tmp_path):
    (tmp_path / "pool.csv").write_text("text\n" + "".join(f"text {n}\n" for n in range(30)))
    write_csv(tmp_path / "few.csv", [(f"other {n}", "ab"[n % 2]) for n in range(20)])
    raw = load_source(
        Data(source=f"csv:{tmp_path / 'pool.csv'}", evaluation=f"csv:{tmp_path / 'few.csv'}", columns=TEXT)
    )
    assert {name: len(part.labels) for name, part in raw.parts.items()} == {"train": 30, "val": 10, "test": 10}
    assert set(raw.parts["train"].labels.tolist()) == {-1}


def test_the_texts_that_ship_are_real_and_apart():
    raw = load_source(Data(source="wordnet"))
    train, test = raw.parts["train"], raw.parts["test"]
    assert (len(train.labels), len(test.labels), len(raw.classes)) == (12_000, 3_000, 26)
    assert not set(train.images.tolist()) & set(test.images.tolist())
    assert set(np.unique(test.labels)) == set(range(26))
    assert not raw.rejected
