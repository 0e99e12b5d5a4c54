"""`tuition check`: each typical mistake is found before a run, without a call paid."""

import shutil

import numpy as np
import pytest
from PIL import Image
from support import PAID, bill, write_params
from typer.testing import CliRunner

from tuition.cli.__main__ import app

SERVER = {"teacher.kind": "openai", "teacher.url": "http://127.0.0.1:9", "teacher.model": "m", "teacher.batch_size": 1}
TABLE = {"teacher.kind": "table", "teacher.name": "elsewhere", "teacher.path": "answers.csv"}
MISTAKES = {  # what was meant to be set, and part of what is said
    "a misspelt key": ({"train.step": 5}, "train.step: no such parameter. Did you mean 'steps'"),
    "a misspelt section": ({"trian": {}}, "trian: no such parameter. Did you mean 'train'"),
    "a text for a number": ({"train.steps": "many"}, "train.steps: found 'many'"),
    "a share above 1": ({"data.val": 1.5}, "data.val: found 1.5"),
    "a negative rate": ({"train.lr": -0.1}, "train.lr: found -0.1"),
    "a misspelt method": ({"study.methods": ["ckd_mse"], "methods": {"ckd_mse": {}}}, "Did you mean 'ckd-mse'"),
    "a method without a section": ({"study.methods": ["dkd"]}, "add `dkd: {}`"),
    "a method's misspelt setting": (
        {"methods": {"ce": {}, "kd": {"temprature": 2.0}, "ckd-mse": {}}},
        "Did you mean 'temperature'",
    ),
    "a budget twice": ({"study.budgets": [40, 40]}, "study.budgets: found [40, 40]"),
    "a budget of nothing": ({"study.budgets": [0]}, "study.budgets.0: found 0"),
    "a budget beyond the pool": ({"study.budgets": [100_000]}, "but the pool has"),
    "an unknown architecture": ({"student.arch": "resnet9"}, "student.arch: 'resnet9' is not known"),
    "a timm model that there is not": ({"student.arch": "timm:resnet9000"}, "resnet9000"),
    "a student that the images are too small for": ({"student.arch": "torchvision:alexnet"}, "student"),
    "taps that the network lacks": ({"student.taps": ["layer9"]}, "layer9"),
    "an unknown kind of source": ({"data.source": "zip:photos.zip"}, "data.source: 'zip:photos.zip' is not known"),
    "a folder that is not there": ({"data.source": "folder:phtos"}, "phtos"),
    "an empty folder": ({"data.source": "folder:empty"}, "empty"),
    "images of several sizes": ({"data.source": "folder:mixed"}, "set data.resize"),
    "an npz without arrays": ({"data.source": "npz:nothing.npz"}, "nothing.npz"),
    "shares that leave nothing": ({"data.source": "npz:digits.npz", "data.val": 0.999}, "train"),
    "a dataset of torchvision that there is not": ({"data.source": "torchvision:MNISTT"}, "MNISTT"),
    "a watched file that is not there": ({"teach.watch": "mine.py"}, "teach.watch: found 'mine.py'"),
    "a `~` that DVC does not know": ({"data.watch": "~/photos"}, "knows no `~`"),
    "a kind of teacher that there is not": ({"teacher.kind": "pythn"}, "teacher.kind: found 'pythn'"),
    "a key of another kind": ({**PAID, "teacher.url": "http://x"}, "teacher.url: not a key of kind 'python'"),
    "a function without a module": (
        {"teacher.kind": "python", "teacher.function": "answer"},
        "needs 'module:function'",
    ),
    "a module that is not there": ({"teacher.kind": "python", "teacher.function": "piad:answer"}, "piad"),
    "a function that the module lacks": ({"teacher.kind": "python", "teacher.function": "paid:anwser"}, "anwser"),
    "a module that breaks": ({"teacher.kind": "python", "teacher.function": "broken:answer"}, "broken"),
    "a module that cannot be run": (
        {"teacher.kind": "python", "teacher.function": "lacks:answer"},
        "(lacks.py, line 2: `weights = ",
    ),
    "a function that takes more": (
        {"teacher.kind": "python", "teacher.function": "takes:answer"},
        "answer(images, model): missing a required argument: 'model'",
    ),
    "an error that there is not": (
        {"teacher.kind": "python", "teacher.function": "takes:right", "teacher.retry": ["takes.Bussy"]},
        "teacher.retry: 'takes.Bussy' is not known. Did you mean 'takes.Busy'",
    ),
    "a key in place of its name": ({**SERVER, "teacher.api_key_env": "sk-12-34"}, "for it may be the key itself"),
    "means of another number of channels": (
        {"teacher.mean": [0.5, 0.5, 0.5]},
        "mean: found 3 values for images of 1 channels",
    ),
    "classes that do not fit": ({**PAID, "teacher.classes": 7}, "knows 7 classes, but data has 10"),
    "weights that are not there": ({"teacher.weights": "teacher.safetensors"}, "teacher.safetensors"),
    "weights that are a web page": ({"teacher.weights": "page.pt"}, "page.pt"),
    "weights of another architecture": ({"teacher.weights": "other.safetensors"}, "other.safetensors"),
    "a table that is not there": ({**TABLE, "teacher.path": "nowhere.csv"}, "nowhere.csv"),
    "a table without answers": (TABLE, "teacher.path: answers.csv: which column holds the answers, logits"),
    "an answer that is no class": (
        {**TABLE, "teacher.answers": "labels", "teacher.columns": {"answer": "said"}},
        "row 1 (0): 'zero' is no class",
    ),
    "an address without a scheme": ({**SERVER, "teacher.url": "localhost:8000"}, "teacher.url: found 'localhost:8000'"),
    "a server that is not there": (SERVER, "teacher.url"),
    "a model that is not named": ({**SERVER, "teacher.model": None}, "teacher.model"),
    "a key that is not in the environment": (
        {**SERVER, "teacher.api_key_env": "NO_SUCH_KEY"},
        "NO_SUCH_KEY: no such variable",
    ),
    "a cap below the budget": ({**PAID, "teacher.cap": 30}, "30 calls, but the largest of study.budgets takes 40"),
    "fewer calls than answers to a sample": (
        {**PAID, "teacher.samples": 50},
        "each asked for 50 times (teacher.samples); valid: 50 to",
    ),
    "money below the budget": (
        {**PAID, "teacher.cap": {"money": 0.3}},
        "0.3, but 40 calls at teacher.price 0.01 come to 0.4",
    ),
    "money without a price": ({**PAID, "teacher.price": 0.0, "teacher.cap": {"money": 1.0}}, "needs the price"),
    "tokens without a bound a call": ({**PAID, "teacher.cap": {"tokens": 1000}}, "max_tokens_per_call is null"),
    "a signal that the teacher does not give": (
        {"study.methods": ["fitnet"], "methods": {"fitnet": {}}},
        "'fitnet' needs map",
    ),
    "comparisons that are not set": ({"compare.sets": {}}, "compare.sets.ckd-mse: no such section"),
    "groups larger than a batch": ({"compare.sets": {"ckd-mse": {"k": 20}}}, "k = 20 within batches"),
    "mixed inputs that are not bought": (
        {"study.methods": ["mixkd"], "methods": {"mixkd": {}}},
        "set teach.mixed: true",
    ),
    "one teacher where several are read": (
        {"study.methods": ["multi-kd"], "methods": {"multi-kd": {}}},
        "teachers is []",
    ),
    "an order without its file": ({"teach.strategy": "file"}, "teach.order: found null"),
    "more processes than a batch holds": ({"train.devices": 32}, "train.devices: found 32"),
    "a GPU that is not there": ({"train.accelerator": "cuda"}, "train.accelerator: cuda"),
    "labels that the pool lacks": ({"data.source": "npz:unlabelled.npz", "data.evaluation": "npz:few.npz"}, "'ce' "),
    "nothing to hold students against": (
        {"data.source": "npz:unlabelled.npz", "data.classes": list("0123456789")},
        "teach.evaluation: found 0",
    ),
    "classes that the evaluation set lacks": (
        {"data.source": "folder:pets", "data.evaluation": "npz:digits.npz"},
        "cat",
    ),
    "an inbox that is not there": ({"refresh.inbox": "inbox"}, "refresh.inbox: found 'inbox'"),
    "a name that the registry does not take": ({"register.name": "a/b"}, "register.name: found 'a/b'"),
}


@pytest.fixture
def place(paid, prepared):
    """The workspace with what the mistakes name."""
    shutil.copy(prepared / "digits.npz", paid)
    np.savez(paid / "nothing.npz", a=np.zeros(3))
    with np.load(paid / "digits.npz") as full:
        images, labels = full["train_images"], full["train_labels"]
    np.savez(paid / "unlabelled.npz", train_images=images[100:])
    np.savez(paid / "few.npz", train_images=images[:100], train_labels=labels[:100])
    (paid / "answers.csv").write_text("row,said\n0,zero\n")
    (paid / "empty").mkdir()
    for number, name in enumerate(("cat", "dog")):
        (paid / "mixed" / name).mkdir(parents=True)
        Image.new("L", (20 + number, 20)).save(paid / "mixed" / name / "1.png")
        (paid / "pets" / name).mkdir(parents=True)
        Image.new("L", (28, 28), 9 * number).save(paid / "pets" / name / "1.png")
    (paid / "broken.py").write_text("import no_such_package\n")
    (paid / "lacks.py").write_text("import numpy as np\nweights = np.load('gone.npy')\n")
    (paid / "takes.py").write_text(
        "class Busy(Exception): ...\ndef answer(images, model): ...\ndef right(images): ...\n"
    )
    (paid / "page.pt").write_text("<!DOCTYPE html><html>not found</html>")
    from safetensors.numpy import save_file

    save_file({"conv.weight": np.zeros((3, 3), np.float32)}, paid / "other.safetensors")
    return paid


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_is_found_and_nothing_is_paid(place, mistake):
    changes, said = MISTAKES[mistake]
    changes = {"data.source": "npz:digits.npz", **changes}
    if mistake == "a GPU that is not there" and __import__("torch").cuda.is_available():
        pytest.skip("it is there")
    write_params(place, changes, check=False)
    ran = CliRunner().invoke(app, ["check"])
    assert ran.exit_code == 2, ran.output
    assert said in ran.output
    assert "Traceback" not in ran.output
    assert "sk-12-34" not in ran.output
    assert bill(place) == []


def test_several_mistakes_are_named_at_once(place):
    write_params(place, {**PAID, "teacher.cap": 30, "teach.watch": "mine.py", "train.accelerator": "mps"})
    ran = CliRunner().invoke(app, ["check"])
    assert ran.exit_code == 2
    for said in ("30 calls, but", "teach.watch", "train.accelerator: mps"):
        assert said in ran.output


def test_where_nothing_is_wrong_it_says_what_was_looked_at(place):
    write_params(place, {**PAID, "data.source": "npz:digits.npz"})
    ran = CliRunner().invoke(app, ["check"])
    assert (ran.exit_code, bill(place)) == (0, []), ran.output
    assert "data: npz:digits.npz, " in ran.output
    assert "3 cells, teacher 'digits-resnet14' (python)" in ran.output


def test_what_is_odd_about_the_data_is_told_before_a_run(place):
    for number in range(40):
        name = ("cat", "dog")[number % 2]
        (place / "odd" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (28, 28), 6 * number).save(place / f"odd/{name}/{number}.png")
    Image.new("L", (28, 28), 250).save(place / "odd/loose.png")
    (place / "odd/cat/broken.png").write_text("no image")
    write_params(place, {**PAID, "data.source": "folder:odd", "data.max_unreadable": 0.1})
    said = " ".join(CliRunner().invoke(app, ["check"]).output.split())
    assert "warning: cannot be read, and is left out: cat/broken.png: not an image" in said
    assert "warning: 1 images lie beside class folders, such as loose.png: they have no label" in said


def test_data_that_was_made_before_a_key_was_set_is_read_anew(place, prepared):
    made = {**PAID, "data.source": f"npz:{prepared}/digits.npz"}
    write_params(place, made)
    assert "as `prepare` left it" in CliRunner().invoke(app, ["check"]).output
    write_params(place, {**made, "data.evaluation": "npz:few.npz"})
    ran = CliRunner().invoke(app, ["check"])
    assert (ran.exit_code, "as `prepare` left it" in ran.output) == (0, False), ran.output
