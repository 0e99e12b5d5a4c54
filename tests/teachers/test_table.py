"""Answers in a table: every kind of file, of key and of answer, and what is refused with the row and what would be valid."""

import hashlib
import json
import os

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import csv, parquet

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.origins import read_origins
from tuition.params import Columns, Data
from tuition.params.teacher import teacher_settings
from tuition.sources.splits import write_splits
from tuition.teachers import fingerprint, load_teacher
from tuition.workspace import Workspace

CLASSES = ["cat", "dog", "owl"]
COUNT = 12  # photos a class, each class with a file of the name first.png


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A workspace with data/ made of class folders."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name in CLASSES:
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(COUNT):
            pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            file = f"{name}{number}.png" if number else "first.png"
            Image.fromarray(pixels).save(folder / "photos" / name / file)
    before = os.getcwd()
    os.chdir(folder)
    try:
        write_splits(Data(source="folder:photos"), folder / "data")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def place(photos, monkeypatch):
    monkeypatch.chdir(photos)
    return photos


@pytest.fixture
def files(place):
    """The file of each sample of the pool, in its order."""
    return [file for _, (file, _) in read_origins(Workspace().split("train").files)]


def facts():
    return read_json(Workspace().data.meta) | read_json(Workspace().split("train").meta)


def write(path, rows, columns=None):
    """A table of dicts, of the kind that its suffix names."""
    columns = columns or list(rows[0])
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    table = pa.table({name: [row.get(name) for row in rows] for name in columns})
    csv.write_csv(table, path) if path.suffix == ".csv" else parquet.write_table(table, path)
    return path


def load(path, given=None, **section):
    return load_teacher(
        teacher_settings(**{"kind": "table", "name": "elsewhere", "path": str(path), **section}), given or facts()
    )


def asked(teacher, ids):
    return teacher.model.answers(ids.tolist())


def of_truth(files):
    return [file.partition("/")[0] for file in files]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_classes_by_name_or_index_in_every_kind_of_file(files, tmp_path, suffix):
    ids, truth = read_array(Workspace().split("train").ids), of_truth(files)
    expected = [CLASSES.index(one) for one in truth]
    named = [{"file": file, "label": f" {one.upper()}."} for file, one in zip(files, truth, strict=True)]
    numbered = [{"file": file, "label": one} for file, one in zip(files, expected, strict=True)]
    for rows in (named, numbered):
        teacher = load(write(tmp_path / f"answers{suffix}", rows), answers="labels")
        assert asked(teacher, ids)["label"].tolist() == expected
        assert (teacher.signals, teacher.idempotent) == (("label",), True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_scores_as_columns_as_a_list_and_as_a_mapping(files, tmp_path, suffix):
    ids, rng = read_array(Workspace().split("train").ids), np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), len(files)).round(6)
    text = json.dumps if suffix == ".csv" else lambda value: value  # CSV has text alone
    columns = [
        {"path": file, **dict(zip(CLASSES, row, strict=True))} for file, row in zip(files, p.tolist(), strict=True)
    ]
    listed = [{"path": file, "probs": text(row)} for file, row in zip(files, p.tolist(), strict=True)]
    first_two = [
        {"path": file, "answer": text({CLASSES[i]: row[i] for i in (0, 2)})}
        for file, row in zip(files, p.tolist(), strict=True)
    ]
    for rows, form in ((columns, "probabilities"), (listed, "probabilities"), (first_two, "top-k")):
        logits = asked(load(write(tmp_path / f"answers{suffix}", rows), answers=form), ids)["logits"]
        np.testing.assert_allclose(np.exp(logits[:, [0, 2]]), p[:, [0, 2]], rtol=1e-5)
        assert np.isnan(logits[:, 1]).all() == (form == "top-k")
    raw = asked(load(write(tmp_path / f"raw{suffix}", columns)), ids)["logits"]  # teacher.answers: logits, the default
    np.testing.assert_allclose(raw, p, rtol=1e-5)


def test_a_sample_is_named_by_its_path_its_name_its_id_or_its_row(place, files, tmp_path):
    ids, truth = read_array(Workspace().split("train").ids), of_truth(files)
    unique = [row for row, file in enumerate(files) if not file.endswith("first.png")]
    assert 0 < len(unique) < len(files)
    every = list(range(len(files)))
    for key, names, rows in (
        ("file", files, every),
        ("file", [f"./photos/{file}" for file in files], every),
        ("file", [str(place / "photos" / file) for file in files], every),
        ("file", [file.rpartition("/")[2] for file in files], unique),
        ("id", [id.decode().upper() for id in ids], every),
        ("row", every, every),
    ):
        table = [{"who": name, "label": one} for name, one in zip(names, truth, strict=True)]
        teacher = load(write(tmp_path / "answers.csv", table), answers="labels", columns={key: "who"})
        assert np.flatnonzero(teacher.model.has(ids)).tolist() == rows, names[0]
        assert asked(teacher, ids[rows])["label"].tolist() == [CLASSES.index(truth[row]) for row in rows]
        assert teacher.model.recorded.unknown == len(files) - len(rows)  # a name that several files have is none


def test_numbers_that_classes_are_called_by_are_names(files, tmp_path):
    called = facts() | {"classes": ["1", "2", "3"]}
    rows = [{"file": file, "label": 3} for file in files]
    for path in ("answers.csv", "answers.parquet"):
        teacher = load(write(tmp_path / path, rows), called, answers="labels")
        assert set(asked(teacher, read_array(Workspace().split("train").ids))["label"].tolist()) == {2}


def test_samples_without_an_answer_and_rows_without_a_sample_are_told(files, tmp_path):
    rows = [{"file": file, "label": "cat"} for file in files[:-4]]
    rows += [{"file": files[-4], "label": None}, {"file": "moth/1.png", "label": "moth"}]
    told = "\n".join(load(write(tmp_path / "answers.csv", rows), answers="labels").model.told())
    assert f"{len(files) - 2:,} rows, with an answer to {len(files) - 4} of the pool's {len(files)} samples" in told
    assert "4 samples of the pool have no answer there" in told
    assert "1 of its rows name no sample in data/, such as 'moth/1.png'" in told
    assert "1 of its rows hold no answer" in told


def test_a_number_that_is_missing_is_no_answer(files, tmp_path):
    rows = [{"file": files[0], "label": 1.0}, {"file": files[1], "label": float("nan")}]
    recorded = load(write(tmp_path / "answers.parquet", rows), answers="labels").model.recorded
    assert (recorded.values.tolist(), recorded.empty) == ([1], 1)


def test_what_it_is_follows_from_name_and_version_and_not_from_the_file(files, tmp_path):
    rows = [{"file": file, "label": "cat"} for file in files]
    small = load(write(tmp_path / "small.csv", rows[:5]), answers="labels")
    large = load(write(tmp_path / "large.csv", rows), answers="labels")
    other = load(tmp_path / "large.csv", answers="labels", version="2")
    assert fingerprint(small.description) == fingerprint(large.description) != fingerprint(other.description)


WRONG = {  # what is done to rows {file, label} of a CSV file, and what is said
    "an unknown class": (
        lambda rows: rows[2].update(label="moth"),
        "row 3 (",
        "'moth' is no class; valid: 'cat', 'dog'",
    ),
    "an index beyond": (
        lambda rows: rows[0].update(label="3"),
        "3 is no class; valid: a name, or an index from 0 to 2",
    ),
    "two answers": (
        lambda rows: rows.extend({**rows[0], "label": one} for one in ("cat", "dog")),
        "rows answer otherwise than an earlier row: rows 1 and ",
    ),
    "no file known": (
        lambda rows: [row.update(file=f"x{row['file']}") for row in rows],
        "none of its",
        "teacher.columns.file; valid: such as",
    ),
    "no answer at all": (lambda rows: [row.update(label=None) for row in rows], "no row with an answer in label"),
}


@pytest.mark.parametrize("change", WRONG)
def test_wrong_rows_are_refused_with_examples(files, tmp_path, change):
    rows = [{"file": file, "label": one} for file, one in zip(files, of_truth(files), strict=True)]
    do, *says = WRONG[change]
    do(rows)
    with pytest.raises(UserError) as error:
        load(write(tmp_path / "answers.csv", rows), answers="labels")
    assert all(one in str(error.value) for one in (*says, "teacher.path: ")), error.value


@pytest.mark.parametrize(
    ("text", "section", "says"),
    [
        (b"file,label\n", {"path": "answers.xlsx"}, "'.xlsx' is not known"),
        (b"file,label\n", {"path": "nowhere.csv"}, "no such file"),
        ("file,label\ncat/é.png,cat\n".encode("latin-1"), {}, "not UTF-8: byte 0xe9 in line 2"),
        ("file,label\n".encode("utf-16"), {}, "UTF-16, expected UTF-8"),
        (b"who,label\n1,cat\n", {}, "which column says whose answer a row is? Set teacher.columns"),
        (b"file,said\n1,cat\n", {}, "which column holds the answers, labels (teacher.answers)?"),
        (
            b"file,label\n1,cat\n",
            {"columns": {"id": "sha"}},
            "teacher.columns.id: 'sha' is not known. Valid: file, label",
        ),
        (b"file,cat,dog\n1,2,3\n", {"answers": "logits"}, "(of the classes it lacks 'owl')"),
        (b"file,answer\ncat/cat1.png,[0.1\n", {"answers": "logits"}, "which is no JSON"),
        (b'file,answer\ncat/cat1.png,"[0.1, 0.2]"\n', {"answers": "logits"}, "expected 3 numbers"),
        (b"file,cat,dog,owl\ncat/cat1.png,1,,3\n", {"answers": "logits"}, "all of them numbers"),
        (b"file,cat,dog,owl\ncat/cat1.png,1,2,3\n", {"answers": "probabilities"}, "expected probabilities"),
        (b'file,answer\ncat/cat1.png,"{""moth"": 1}"\n', {"answers": "top-k"}, "'moth' is no class"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(place, tmp_path, monkeypatch, text, section, says):
    (tmp_path / "answers.csv").write_bytes(text)
    (tmp_path / "answers.xlsx").write_bytes(text)
    path = tmp_path / section.get("path", "answers.csv")
    for given in (facts(), {"classes": CLASSES}):  # before there is a data/, too
        with pytest.raises(UserError) as error:
            load(path, given, **{"answers": "labels"} | {key: one for key, one in section.items() if key != "path"})
        assert says in str(error.value)


def test_rows_of_arrays_have_no_file_names(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(prepared)
    (tmp_path / "answers.csv").write_text("file,label\na.png,1\n")
    with pytest.raises(UserError, match=r"no files of their own; set teacher.columns to \{id: …\} or \{row: …\}"):
        load(tmp_path / "answers.csv", answers="labels")


def test_texts_are_found_by_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{"id": str(100 + n), "text": f" text,\n{n} ", "label": CLASSES[n % 3]} for n in range(30)]
    write(tmp_path / "pool.csv", rows)
    write_splits(Data(source="csv:pool.csv", columns=Columns(text="text")), tmp_path / "data")
    ids = read_array(Workspace().split("train").ids)
    truth = {hashlib.sha256(row["text"].encode()).hexdigest(): row["label"] for row in rows}
    expected = [CLASSES.index(truth[id.decode()]) for id in ids]
    teacher = load(write(tmp_path / "answers.jsonl", [*rows, {"text": "another", "label": "cat"}]), answers="labels")
    assert asked(teacher, ids)["label"].tolist() == expected
    assert "1 of its rows name no sample in data/, such as 'another'" in teacher.model.told()
    by_row = [{"row": n, "label": CLASSES[place]} for n, place in enumerate(expected)]
    assert asked(load(write(tmp_path / "rows.csv", by_row), answers="labels"), ids)["label"].tolist() == expected
    with pytest.raises(UserError, match=r"read as teacher\.columns\.text; valid: such as ' text,"):
        load(write(tmp_path / "other.csv", [{"text": "another", "label": "cat"}]), answers="labels")
    with pytest.raises(UserError, match=r"Set teacher\.columns to \{text: …\}"):
        load(write(tmp_path / "none.csv", [{"what": "another", "label": "cat"}]), answers="labels")
