"""`tuition methods`, `check` and `use`, as a user types them."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from support import ROOT, write_params
from typer.testing import CliRunner

from tuition.cli.__main__ import app
from tuition.methods import BUILT_IN


def tuition(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_methods_as_json_and_as_a_table():
    rows = {row["name"]: row for row in json.loads(tuition("methods", "--json").stdout)["methods"]}
    assert list(rows) == list(BUILT_IN)
    assert rows["icd"]["signals"] == ["embedding"]
    assert (rows["icd"]["source"], rows["icd"]["evidence"]) == ("arXiv 2407.11802", "code")
    assert rows["mixkd"]["views"] == "mixed"
    assert (rows["dml"]["calls"], rows["kd"]["calls"]) == (0.0, 1.0)
    assert (rows["kd"]["price"], rows["multi-kd"]["price"]) == ("1", "1 + number of teachers")
    assert rows["ckd-mse"]["compares"]
    assert (rows["mixup"]["inputs"], rows["kd"]["inputs"]) == (["images"], [])
    assert rows["kd"]["settings"] == {"temperature": 4.0, "weight_kd": 0.9, "weight_ce": 0.1}
    assert all(row["title"] and "`" not in row["title"] for row in rows.values())
    shown = tuition("methods").stdout
    assert all(f"\n{name} " in shown for name in BUILT_IN)


def commands(group: Any, *above: str) -> Iterator[tuple[list[str], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *above, name)
        else:
            yield [*above, name], command


def test_each_command_has_an_example_that_it_takes():
    found = list(commands(typer.main.get_command(app)))
    assert len(found) > 20
    for place, command in found:
        (example,) = re.findall("Example: `(.+?)`", " ".join((command.help or "").split()))
        words = shlex.split(example.partition(" | ")[0])
        assert words[: len(place) + 1] == ["tuition", *place]
        command.make_context(words[len(place)], words[len(place) + 1 :])


README = {  # the example of docs/methods.md
    "study.methods": ["ce", "kd", "icd+kd", "ckd-4"],
    "methods": {
        "ce": {},
        "kd": {},
        "icd+kd": {"weight_kd": 1.0},
        "ckd-4": {"method": "ckd-mse", "labels": "none", "anchor": 1.0},
    },
    "compare.sets": {"ckd-4": {"strategy": "random", "k": 4, "weights": [0.5, 0.5, -0.5, -0.5]}},
}


def test_variants_are_checked_without_running_anything(workspace):
    write_params(workspace, README)
    ran = tuition("check")
    assert (ran.exit_code, "8 cells" in ran.stdout) == (0, True), ran.output


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"study.methods": ["at"], "methods": {"at": {}}},
            "'at' needs energy, but the teacher gives only logits, embedding",
        ),
        ({"study.methods": ["mixkd"], "methods": {"mixkd": {}}}, "set teach.mixed: true"),
        ({"study.methods": ["kd+kd"], "methods": {"kd+kd": {}}}, "is kd twice"),
        (
            {"study.methods": ["a"], "methods": {"a": {"method": "ickd"}}},
            "methods.a.method: 'ickd' is not known. Did you mean 'icd'",
        ),
        ({"study.methods": ["a/b"], "methods": {"a/b": {"method": "icd"}}}, "methods.a/b: a name is made of letters"),
        (
            {"study.methods": ["ce"], "methods": {"ce": {"weight": 1.0}}},
            "methods.ce: 'weight' is not known. Did you mean 'weight_ce'",
        ),
        (
            {"study.methods": ["icd"], "methods": {"icd": {"dimensions": 0}}},
            "dimensions: found 0. Input should be greater than or equal to 1",
        ),
        (
            {
                "study.methods": ["a"],
                "methods": {"a": {"method": "ckd-mse", "combine": "add"}},
                "compare.sets": {"a": {"strategy": "random", "k": 3}},
            },
            "compare.sets.a: k = 3, but methods.a.combine: add is of pairs",
        ),
        (
            {
                "study.methods": ["ckd-mse"],
                "compare.sets": {"ckd-mse": {"strategy": "in-batch", "k": 20}},
                "train.batch_size": 16,
            },
            "compare.sets.ckd-mse: k = 20 within batches of train.batch_size = 16",
        ),
        (
            {
                "teacher.kind": "experts",
                "teacher.experts": [{"arch": "resnet8", "weights": "a"}, {"arch": "resnet14", "weights": "b"}],
                "teacher.free": {"arch": "resnet8", "weights": "c"},
                "teach.mixed": True,
            },
            "teach.mixed: true, but teacher.kind 'experts'",
        ),
        ({"teacher.signals": ["logit"]}, "teacher.signals: 'logit' is not known. Did you mean 'logits'"),
        (
            {"study.methods": ["ckd-vid"], "methods": {"ckd-vid": {}}, "teacher.signals": ["logits", "map"]},
            "compare.sets.ckd-vid: no such section",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(workspace, changes, message):
    write_params(workspace, changes, check=False)
    ran = tuition("check")
    assert ran.exit_code == 2
    assert message in ran.output


def test_use_writes_a_study(workspace):
    ran = tuition("use", ROOT / "studies/icd.yaml", "--size", "small")
    assert ran.exit_code == 0, ran.output
    assert "24 cells, budgets up to 200 calls" in ran.stdout
    assert tuition("check").exit_code == 0


def test_check_looks_at_the_store_of_mlflow(workspace, monkeypatch):
    write_params(workspace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    ran = tuition("check")
    assert (ran.exit_code, "MLFLOW_TRACKING_URI: found './mlruns', a folder" in ran.output) == (2, True)
