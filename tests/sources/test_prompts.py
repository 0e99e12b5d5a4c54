"""Prompts and references from tables, and what is refused."""

import json

import pytest

from tuition.errors import UserError
from tuition.files import read_json
from tuition.inputs import texts
from tuition.inputs.texts.files import read_references
from tuition.models.sequences import JOINT
from tuition.params import Data
from tuition.sources.prompts import arrange, load_prompts
from tuition.sources.splits import summary, write_splits
from tuition.workspace import Splits


def data(folder, rows, **columns):
    (folder / "words.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    asked = {"prompt": "word", "reference": "meaning", **columns}
    return Data(source=f"jsonl:{folder / 'words.jsonl'}", columns=asked, val=0.25, test=0.25)


def rows(count=12):
    return [{"word": f"word {number}", "meaning": f"meaning {number}"} for number in range(count)]


def test_splits_are_drawn_from_those_with_a_reference(tmp_path):
    given = [*rows(), {"word": "word 3", "meaning": "again"}, {"word": "alone", "meaning": None}, {"word": " "}]
    meta = write_splits(data(tmp_path, given), tmp_path / "data")
    assert meta["splits"] == {"train": 8, "val": 2, "test": 3}
    assert meta["references"] == {"train": 7, "val": 2, "test": 3}
    assert (meta["task"], meta["rejected"], meta["duplicates"]) == ("generate", 1, {"within": 1})
    assert "8 prompts to train, 7 of them with a reference" in summary(meta)
    every = []
    for name in ("train", "val", "test"):
        files = Splits(tmp_path / "data").split(name)
        both = list(zip(texts.read(files.path), read_references(files), strict=True))
        every += both
        assert all(reference == prompt.replace("word", "meaning") for prompt, reference in both if prompt != "alone")
    assert sorted(prompt for prompt, _ in every) == sorted([*(row["word"] for row in rows()), "alone"])
    assert read_json(Splits(tmp_path / "data").split("test").meta)["n"] == 3


def test_a_column_says_which_split(tmp_path):
    given = [row | {"split": name} for row, name in zip(rows(6), ["train", "valid", "test"] * 2, strict=True)]
    found, _ = arrange(load_prompts(data(tmp_path, given)), data(tmp_path, given))
    assert {name: one.records.texts.tolist() for name, one in found.items()} == {
        "train": ["word 0", "word 3"],
        "val": ["word 1", "word 4"],
        "test": ["word 2", "word 5"],
    }


def test_what_is_wrong_is_told(tmp_path):
    with pytest.raises(UserError, match=r"data.columns.prompt.*'nouns'.*meaning, word"):
        load_prompts(data(tmp_path, rows(), prompt="nouns"))
    tested = [*rows(), {"word": "alone", "split": "test"}]
    with pytest.raises(UserError, match="1 of 1 prompts of test have no reference"):
        arrange(load_prompts(data(tmp_path, tested)), data(tmp_path, tested))
    joined = load_prompts(data(tmp_path, [*rows(), {"word": f"a{JOINT}b"}]))
    assert "U+001E" in joined.rejected[0][1]


def test_real_definitions():
    """Each noun with its own definition."""
    found = load_prompts(Data(source="wordnet-definitions"))
    place = found.records.texts.tolist().index("gift wrap (substance)")
    assert found.references[place] == "attractive wrapping paper suitable for wrapping gifts"
    assert len(found.records) == 15_000
