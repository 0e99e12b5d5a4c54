"""A teacher's section: each kind takes its own keys, and what decides a study's identity is marked on the fields."""

import re

import pytest
from ruamel.yaml import YAML
from support import ROOT

from tuition import params as parameters
from tuition.errors import UserError
from tuition.params import identity
from tuition.params.teacher import KINDS, TeacherSettings, teacher_settings
from tuition.tracking.record import study_params

NEEDED = {
    "python": {"function": "mine:scores"},
    "table": {"name": "elsewhere", "path": "answers.csv"},
    "sentence": {"folder": "encoder"},
    "experts": {
        "experts": [{"arch": "resnet8", "weights": "a.pt"}, {"arch": "resnet8", "weights": "b.pt"}],
        "free": {"arch": "resnet8", "weights": "c.pt"},
    },
    **{kind: {"url": "http://127.0.0.1:9"} for kind in ("mlflow", "oip", "openai", "http")},
}
VALUES = {
    "signals": ["logits"],
    "mean": [0.5],
    "std": [0.5],
    "resize": 16,
    "precision": "32-true",
    "experts": [],
    "free": None,
    "choose": "random",
    "function": "mine:scores",
    "scores": "probabilities",
    "answers": None,
    "options": {},
    "url": "http://127.0.0.1:9",
    "model": "m",
    "format": "mine:Format",
    "api_key_env": "KEY",
    "max_in_flight": 2,
    "requests_per_minute": 10,
    "tokens_per_minute": 10,
    "timeout": 1.0,
    "retry": ["mine.Busy"],
    "path": "answers.csv",
    "columns": {"answer": "label"},
    "folder": "encoder",
    "tokenizer": "tokenizer.json",
    "added_tokens": 10,
    "max_text_tokens": None,
    "text_cut": "end",
    "max_new_tokens": 20,
    "top_k": 5,
}  # the keys that some kinds take and others do not


def written(folder, teacher: dict, more: list | None = None):
    """params.yaml with this section `teacher`, and these `teachers`."""
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text())
    params["teacher"], params["teachers"] = teacher, more or []
    with (folder / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    return folder / "params.yaml"


def section(kind: str) -> dict:
    name = "mine:Teacher" if kind == "module:Class" else kind
    return {"kind": name, **NEEDED.get(kind, {})}


def test_every_key_that_only_some_kinds_take_is_tried():
    every = {key for one in KINDS.values() for key in one.model_fields}
    assert every - set(TeacherSettings.model_fields) == set(VALUES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_takes_its_own_keys_and_refuses_those_of_others(kind, tmp_path):
    own = set(KINDS[kind].model_fields)
    for key, value in VALUES.items():
        given = {**section(kind), key: section(kind).get(key, value)}
        if key in own:
            assert getattr(teacher_settings(**given), key) is not ...
            continue
        path = written(tmp_path, given)
        with pytest.raises(UserError) as raised:
            parameters.load(path)
        text = str(raised.value)
        takers = [name for name, one in KINDS.items() if key in one.model_fields]
        assert f"teacher.{key}: not a key of kind {kind!r}, but of {', '.join(takers)}: leave it out" in text
        assert f"valid for {kind!r}: {', '.join(sorted(own))}" in text


def test_a_key_that_no_kind_takes_is_told_with_the_nearest(tmp_path):
    with pytest.raises(
        UserError, match=r"teacher\.functoin: no such parameter\. Did you mean 'function'\? Valid: answers, arch, "
    ):
        parameters.load(written(tmp_path, {"kind": "python", "functoin": "mine:scores", "function": "mine:scores"}))


def test_a_kind_that_is_none(tmp_path):
    with pytest.raises(UserError, match=rf"teacher\.kind: found 'pyhton'\. Valid: {re.escape(', '.join(KINDS))}"):
        parameters.load(written(tmp_path, {"kind": "pyhton"}))


def test_a_mistake_in_a_further_teacher_names_its_place(tmp_path):
    further = [{"kind": "python", "name": "one", "function": "mine:one"}, {"kind": "oip", "name": "two", "url": "two"}]
    with pytest.raises(UserError, match=r"teachers\.1: teacher\.url: found 'two'; kind 'oip' needs http://host:port"):
        parameters.load(written(tmp_path, {"kind": "checkpoint"}, further))
    further[1] |= {"url": "http://two", "function": "mine:two"}
    with pytest.raises(UserError, match=r"teachers\.1\.function: not a key of kind 'oip', but of python"):
        parameters.load(written(tmp_path, {"kind": "checkpoint"}, further))


def test_what_only_feeds_and_pays_a_teacher_is_no_part_of_a_studys_identity(tmp_path):
    fed = {"url": "http://user:secret@one", "price": 0.5, "cap": 10, "max_in_flight": 3, "timeout": 2.0, "canary": 2}
    one = parameters.load(written(tmp_path, {"kind": "oip", "model": "m", **fed}))
    other = parameters.load(written(tmp_path, {"kind": "oip", "model": "m", "url": "http://two"}))
    assert identity(one) == identity(other)
    assert not {key for key in study_params(one) if "secret" in key or key.split(".")[-1] in fed}
    third = parameters.load(written(tmp_path, {"kind": "oip", "model": "another", "url": "http://two"}))
    assert identity(third) != identity(other)


def test_lists_that_may_grow_are_no_part_of_a_studys_identity():
    kept = identity(parameters.load(ROOT / "params.yaml"))
    assert not {"study", "methods", "registry", "flows", "refresh"} & set(kept)
    assert set(kept["compare"]) == {"limit", "seed"}
    assert {"data", "transfer", "teacher", "teachers", "pretrain", "teach", "student", "train", "evaluate"} <= set(kept)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("checkpoint", "a network in this process answers the same each time it is asked: set 1. Several networks"),
        ("experts", "teacher.choose: mean"),
        ("table", "a table has one answer a sample: set 1. Where you have several, write each class's share"),
        ("mlflow", "ask it with kind http or python"),
        ("oip", "ask it with kind http or python"),
    ],
)
def test_kinds_that_answer_once_are_refused_more_and_told_what_to_do_instead(tmp_path, kind, says):
    section = {"kind": kind, **NEEDED.get(kind, {})}
    assert parameters.load(written(tmp_path, section)).teacher.samples == 1
    with pytest.raises(UserError, match=rf"teacher\.samples: found 3, but .*{re.escape(says)}"):
        parameters.load(written(tmp_path, {**section, "samples": 3}))
