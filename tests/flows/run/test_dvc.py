"""DVC with its lock read and written by libyaml: the same text, and the same content in whatever a parameter may be."""

import io
from collections import OrderedDict
from pathlib import Path

import pytest
from dvc.utils.serialize import dump_yaml, modify_yaml
from ruamel.yaml import YAML

from flows.run import dvc as fast

PLAIN = OrderedDict(
    schema="2.0",
    stages={
        "train@40-kd-0": {
            "cmd": "python -m stages.train 40 kd 0",
            "deps": [{"path": "data/train", "hash": "md5", "md5": "0123e4567", "size": 7, "nfiles": 2}],
            "params": {"params.yaml": {"a": None, "b": [None, 1e-3, -0.0, 1e300], "c": {}, "d": [[1], []], "e": True}},
            "outs": [{"path": "ünï 'quoted' \"twice\"", "size": 10**20}],
        }
    },
)
WORDS = [
    "yes",
    "1e-3",
    "on",
    "0o17",
    "12:30",
    "2020-01-01",
    "a: b",
    "x " * 100,
    "",
    "null",
    "~",
    "-1",
    "@x",
    "# x",
    "a\tb",
    "1_000",
    "=",
]


def written(path: Path) -> bytes:
    with fast.modify(str(path)):
        pass
    return path.read_bytes()


def test_it_writes_what_dvc_writes(tmp_path):
    lock = tmp_path / "dvc.lock"
    data = {**PLAIN, "words": WORDS, "keys": dict.fromkeys(WORDS, 1)}
    dump_yaml(str(lock), data)
    own = lock.read_bytes()
    with modify_yaml(str(lock)):
        pass
    assert lock.read_bytes() == own == written(lock)
    assert YAML(typ="safe").load(own.decode()) == data


@pytest.mark.parametrize("text", ["a\nb\n", "one: \ntwo: ", "\N{GRINNING FACE}", "'a: \n", "trailing \n x: \n\n"])
def test_what_is_written_otherwise_is_read_as_the_same(text):
    out = io.StringIO()
    fast.dump({"a": text, "b": [text], text: None}, out)
    assert YAML(typ="safe").load(out.getvalue()) == {"a": text, "b": [text], text: None}


def test_other_files_keep_their_comments(tmp_path):
    path = tmp_path / "dvc.yaml"
    path.write_text("a:  # why\n- b\n")
    assert written(path) == b"a:  # why\n- b\n"
