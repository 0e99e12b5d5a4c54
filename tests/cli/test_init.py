"""`tuition init` and `tuition params`: a short params.yaml for data and a teacher of one's own, and every key with what it is for."""

import os
import pty
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel
from support import ROOT, bill
from typer.testing import CliRunner

from tuition import params as parameters
from tuition.cli.__main__ import app
from tuition.cli.probe import in_words
from tuition.params.comments import comment
from tuition.params.schema import Params
from tuition.params.teacher import KINDS
from tuition.params.written import defaults, short, whole

GIVEN = ("--data", "npz:digits.npz", "--teacher", "python:paid:answer", "--budgets", "40", "--name", "digits-of-mine")


@pytest.fixture
def place(paid, prepared):
    shutil.copy(prepared / "digits.npz", paid)
    shutil.copy(ROOT / "dvc.yaml", paid)
    (paid / "params.yaml").unlink()
    return paid


def tuition(*args):
    return CliRunner().invoke(app, list(args))


def test_a_short_file_that_check_and_dvc_accept(place):
    ran = tuition("init", *GIVEN, "--seeds", "1", "--set", "train.steps=20")
    assert ran.exit_code == 0, ran.output
    params = parameters.load()
    assert (params.study.budgets, params.study.seeds, params.train.steps) == ([40], [0], 20)
    assert params.study.methods[:3] == ["ce", "kd", "ckd-mse"]
    assert (params.data.watch, params.teach.watch, params.registry.name) == ("digits.npz", "paid.py", "digits-of-mine")
    text = (place / "params.yaml").read_text()
    assert len(text.splitlines()) < 50
    assert "momentum" not in text
    assert tuition("check").exit_code == 0
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], capture_output=True, text=True
    )
    assert (listed.returncode, "teach@40" in listed.stdout) == (0, True), listed.stderr
    assert bill(place) == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ({"label": np.array(1)}, "'dog'"),
        ({"logits": np.log([0.25, 0.75])}, "'dog' with 75 %"),
        ({"logits": np.array([np.log(0.75), np.nan])}, "'cat' with 75 %"),  # the other one is unknown
        ({"label": np.array(0), "logits": np.log([0.75, 0.25])}, "'cat'"),
        ({"embedding": np.zeros(3)}, "embedding (3,)"),
    ],
)
def test_what_a_probe_was_answered_is_said_in_words(answer, says):
    assert in_words(answer, ["cat", "dog"]) == says


def test_originals_of_many_sizes_are_shown_one_at_a_time(place):
    for number in range(30):
        (place / "photos" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20 + number, 24), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "photos" / str(number % 2) / f"{number}.png")
    asked = {**dict(zip(GIVEN[::2], GIVEN[1::2], strict=True)), "--data": "folder:photos", "--budgets": "10"}
    ran = tuition("init", *(one for pair in asked.items() for one in pair), "--resize", "16")
    assert ran.exit_code == 0, ran.output
    assert parameters.load().teacher.batch_size == 1
    assert tuition("check").exit_code == 0


def test_texts_get_a_student_and_a_training_of_texts(place):
    rows = "".join(f'"ticket {row}","line\n{row}",{"ab"[row % 2]}\n' for row in range(60))
    (place / "tickets.csv").write_text(f"title,body,label\n{rows}")
    asked = ("--data", "csv:tickets.csv", "--text", "title,body", "--teacher", "python:paid:answer", *GIVEN[6:])
    ran = tuition("init", *asked, "--budgets", "20", "--set", "encode.source=tfidf")
    assert ran.exit_code == 0, ran.output
    params = parameters.load()
    assert (params.data.inputs, params.data.watch) == ("texts", "tickets.csv")
    assert (params.data.columns.texts, params.data.columns.template) == (("title", "body"), "{title}\n{body}")
    assert (params.student.arch, params.train.optimizer) == ("text-cnn", "adamw")
    assert params.study.methods[:3] == ["ce", "kd", "ckd-mse"]
    checked = tuition("check")
    assert checked.exit_code == 0, checked.output
    missing = tuition("init", *asked[:2], "--text", "what", *asked[4:], "--budgets", "20", "--force")
    assert "data.columns.text: 'what' is not known. Valid: body, label, title" in missing.output
    assert parameters.load() == params


def test_a_table_of_answers_is_a_teacher_and_is_watched(place):
    (place / "answers.csv").write_text("row,label\n" + "".join(f"{row},{row % 10}\n" for row in range(100)))
    ran = tuition("init", *GIVEN[:2], "--teacher", "table:answers.csv", "--answers", "labels", *GIVEN[4:])
    assert ran.exit_code == 0, ran.output
    params = parameters.load()
    assert (params.teacher.kind, params.teacher.name, params.teacher.path) == ("table", "answers", "answers.csv")
    assert (params.study.methods, params.teach.watch) == (["ce", "pseudo-label"], "answers.csv")
    checked = tuition("check")
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--data": "npz:digts.npz"}, "digts.npz"),
        ({"--data": "zip:digits.zip"}, "'zip:digits.zip' is not known"),
        ({"--teacher": "pyhton:paid:scores"}, "--teacher: 'pyhton:…' is not known. Did you mean 'python:…'"),
        ({"--teacher": "python:piad:answer"}, "piad"),
        ({"--budgets": "many"}, "--budgets: found 'many'"),
        ({"--budgets": None}, "--budgets: missing"),
        ({"--name": "a/b"}, "register.name: found 'a/b'"),
        ({"--set": "steps=3"}, "--set: found 'steps=3'"),
        ({"--set": "train.step=3"}, "Did you mean 'steps'"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_and_no_file_is_written(place, changed, said):
    given = dict(zip(GIVEN[::2], GIVEN[1::2], strict=True)) | changed
    ran = tuition("init", *(part for key, value in given.items() if value is not None for part in (key, value)))
    assert (ran.exit_code, said in ran.output) == (2, True), ran.output
    assert not (place / "params.yaml").exists()
    assert not list(place.glob(".params*"))


def test_changes_that_git_does_not_hold_are_not_replaced(place):
    (place / "params.yaml").write_text("mine: {}\n")
    ran = tuition("init", *GIVEN)
    assert (ran.exit_code, "--force" in ran.output) == (2, True)
    assert (place / "params.yaml").read_text() == "mine: {}\n"
    for command in (
        ["init", "-q"],
        ["add", "params.yaml"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "start"],
    ):
        subprocess.run(["git", *command], check=True)
    assert tuition("init", *GIVEN).exit_code == 0


def test_outside_of_the_project_it_says_where_it_runs(place):
    (place / "dvc.yaml").unlink()
    ran = tuition("init", *GIVEN)
    assert ran.exit_code == 2
    assert "dvc.yaml: no such file in" in ran.output
    assert not (place / "params.yaml").exists()


def test_at_a_terminal_it_asks_for_what_is_not_given(place):
    main, side = pty.openpty()
    command = [sys.executable, "-m", "tuition.cli", *GIVEN[:4]]
    command.insert(3, "init")
    ran = subprocess.Popen(command, stdin=side, stdout=side, stderr=side, env={**os.environ, "PYTHONPATH": str(ROOT)})
    os.close(side)
    os.write(main, b"\n40\n")  # the name that is proposed, and the budget
    said = b""
    try:
        while part := os.read(main, 4096):
            said += part
    except OSError:  # its end, on Linux
        pass
    os.close(main)
    assert ran.wait() == 0, said.decode()
    assert b"[digits]" in said
    params = parameters.load()
    assert (params.registry.name, params.study.budgets) == ("digits", [40])


def test_every_key_is_printed_with_what_it_is_for_and_means_the_same(workspace):
    text = tuition("params").stdout
    (workspace / "again.yaml").write_text(text)
    assert parameters.load(workspace / "again.yaml") == parameters.load()
    assert "steps: 6" in text
    assert whole(defaults()) == tuition("params", "--defaults").stdout


def test_a_short_file_means_what_was_given(tmp_path):
    given = {"study": {"budgets": [7], "methods": ["kd"], "seeds": [1]}, "methods": {"kd": {}}}
    (tmp_path / "params.yaml").write_text(short(given, ROOT / "dvc.yaml"))
    assert parameters.load(tmp_path / "params.yaml") == Params.model_validate(given)


def test_every_key_has_its_line():
    sections: dict[str, list[type[BaseModel]]] = {"teacher": list(KINDS.values())}
    for name, field in Params.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            sections[field.alias or name] = [field.annotation]
    for section, models in sections.items():
        assert comment(section)
        for key in {key for model in models for key in model.model_fields}:
            assert comment(section, key), f"{section}.{key}"


def test_the_version():
    assert tuition("--version").stdout.startswith("tuition ")
    assert "Usage" in tuition("check", "-h").stdout
