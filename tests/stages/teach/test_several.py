"""Further teachers: each is paid once from an account of its own, all are checked before the first is asked, and methods read them."""

import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import COUNTING_TEACHER, PAID, stage, write_params

from stages.train.reading import read_others
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger
from tuition.models import build
from tuition.params import load
from tuition.workspace import Workspace

# A teacher that answers with NaN now and then, when the first few answers have been checked.
GAPS = """
COUNT = 0

def gaps(images, keys):
    global COUNT
    given = answer(images, keys)
    for i in range(len(given)):
        given[i, 0] = np.nan if COUNT % 7 == 6 and COUNT > 10 else given[i, 0]
        COUNT += 1
    return given

def bare(images, keys):
    return {"embedding": answer(images, keys)}

bare.signals = ("embedding",)
"""
HELPER = {"kind": "python", "name": "helper", "function": "helper:answer", "price": 0.002, "batch_size": 8}
STUDY = {**PAID, "study.methods": ["kd", "multi-kd"], "methods": {"kd": {}, "multi-kd": {}}, "compare.sets": {}}


@pytest.fixture
def two(paid):
    """The workspace with the paid teacher of `paid.py`, and another one in `helper.py` with a bill of its own."""
    source = COUNTING_TEACHER.replace('"bill.txt"', '"helper.txt"').replace("default_rng(0)", "default_rng(1)")
    (paid / "helper.py").write_text(source + GAPS)
    return paid


def teach(folder, budget=40, check=True, **changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    write_params(folder, {**STUDY, "study.budgets": [budget], "teachers": [HELPER], **changes}, check)
    return stage("teach", budget, cwd=folder)


def bills(folder):
    """How many images the teachers were given, all of them different."""
    keys = [
        (folder / name).read_text().split() if (folder / name).exists() else [] for name in ("bill.txt", "helper.txt")
    ]
    assert [len(one) for one in keys] == [len(set(one)) for one in keys]
    return [len(one) for one in keys]


def test_each_is_paid_once_for_the_same_samples(two):
    ran = teach(two)
    assert ran.returncode == 0, ran.stderr
    assert "teach 40 helper: 40 new calls, 40 outputs owned" in ran.stdout
    assert bills(two) == [40, 40]
    main, helper = two / "outputs/40", two / "outputs/40/teachers/helper"
    np.testing.assert_array_equal(read_array(helper / "ids.npy"), read_array(main / "ids.npy"))
    sys.path.insert(0, str(two))
    sys.modules.pop("helper", None)
    try:
        import helper as module

        images = read_array(two / "data/train/images.npy")[read_array(main / "positions.npy")]
        np.testing.assert_array_equal(read_array(helper / "logits.npy"), module.logits(images).astype(np.float32))
    finally:
        sys.path.remove(str(two))
        sys.modules.pop("helper", None)
    assert not np.array_equal(read_array(helper / "logits.npy"), read_array(main / "logits.npy"))

    of_helper = {"calls": 40, "cost": 0.08, "usable": 40}
    assert read_json(main / "spend.json") == {"calls": 40, "cost": 0.4, "usable": 40, "teachers": {"helper": of_helper}}
    told = read_json(two / "spend/40.json")
    assert (told["new_calls"], told["teachers"]) == (40, {"helper": {**of_helper, "new_calls": 40}})

    assert teach(two, 80).returncode == 0
    assert bills(two) == [80, 80]
    for folder in ("", "teachers/helper"):  # nested: the small budget is a prefix
        large = read_array(two / "outputs/80" / folder / "logits.npy")
        np.testing.assert_array_equal(large[:40], read_array(main / folder / "logits.npy"))
    status = {one["name"]: one for one in accounts.status(open_ledger())}
    assert {name: (one["calls"]["done"], one["cost"]) for name, one in status.items()} == {
        "digits-resnet14": (80, 0.8),
        "helper": (80, 0.16),
    }
    assert accounts.verify(open_ledger()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teachers": [{**HELPER, "cap": 39}]},
            "teachers: 'helper': teacher.cap: 39 calls in the teacher's life, 0 are spent",
        ),
        ({"teacher.cap": 39}, "error: teacher.cap: 39 calls in the teacher's life"),
        ({"teachers": [{**HELPER, "cap": {"money": 0.079}}]}, "teachers: 'helper': teacher.cap.money: 0.079"),
        (
            {"teachers": [{**HELPER, "classes": 12}]},
            "teachers: 'helper': teacher 'helper' knows 12 classes, but data has 10",
        ),
        (
            {"teachers": [{**HELPER, "function": "helper:nothing"}]},
            "teachers: 'helper': teacher.function: 'helper' has no function",
        ),
        (
            {"teachers": [{**HELPER, "function": "paid:answer"}]},
            "teachers: 'helper': it is the same teacher as 'teacher'",
        ),
        (
            {"teachers": [HELPER, {**HELPER, "name": "again"}]},
            "teachers: 'again': it is the same teacher as 'helper' (the same weights, or the same model or function and version)",
        ),
        (
            {"teachers": [{**HELPER, "function": "helper:bare"}]},
            "'multi-kd' needs logits of every teacher, but 'helper' of teachers gives only embedding",
        ),
        ({"teachers": []}, "'multi-kd' reads the answers of several teachers, but teachers is []"),
    ],
)
def test_what_cannot_be_is_refused_before_any_is_asked(two, changes, message):
    write_params(two, {**STUDY, "teachers": [HELPER], **changes})
    ran = stage("teach", 40, cwd=two)
    assert ran.returncode == 2, ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert bills(two) == [0, 0]


def test_a_server_that_is_not_there_is_noticed_before_any_is_asked(two):
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        far = {
            "kind": "oip",
            "name": "far",
            "url": f"http://127.0.0.1:{held.getsockname()[1]}",
            "model": "m",
            "patience": 1.0,
        }
        ran = teach(two, teachers=[HELPER, far])
    assert ran.returncode == 2
    assert "teachers: 'far': teacher.url:" in ran.stderr
    assert bills(two) == [0, 0]


def test_what_one_gave_stays_owned_where_the_next_fails(two):
    ran = teach(two, teachers=[{**HELPER, "function": "helper:refuses", "patience": 0.5}])
    assert ran.returncode == 2
    assert "teachers: 'helper': " in ran.stderr
    assert bills(two) == [40, 0]
    ran = teach(two)
    assert "teach 40: 0 new calls" in ran.stdout
    assert bills(two) == [40, 40]


def test_a_clone_owns_what_all_of_them_said(two, monkeypatch):
    teach(two)
    monkeypatch.setenv("TUITION_LEDGER", str(two / "elsewhere.db"))
    command = [sys.executable, "-m", "tuition.cli", "ledger", "import", "outputs/40"]
    ran = subprocess.run(command, cwd=two, capture_output=True, text=True)
    assert "outputs/40/teachers/helper: 40 samples taken" in ran.stdout
    assert teach(two).returncode == 0
    assert bills(two) == [40, 40]


def test_a_teacher_that_is_asked_again_asks_within_its_own_budget(two):
    again = {**HELPER, "recheck": {"every": 20, "samples": 4}}
    ran = teach(two, teachers=[again])
    assert ran.returncode == 0, ran.stderr
    counted = [len((two / name).read_text().split()) for name in ("bill.txt", "helper.txt")]
    assert counted == [40, 40]
    spend = read_json(two / "outputs/40/spend.json")["teachers"]["helper"]
    assert (spend["calls"], spend["recheck_calls"], spend["usable"]) == (36, 4, 36)
    _, present = read_others(Workspace(two).outputs(40), ("logits",), 40)
    np.testing.assert_array_equal(present["helper"], np.arange(40) < 36)


def test_views_are_asked_of_each(two):
    ran = teach(two, teach__views=2, teach__crop=2)
    assert ran.returncode == 0, ran.stderr
    assert bills(two) == [40, 40]
    for name in ("ids.npy", "views.npy"):
        one, other = (read_array(two / "outputs/40" / folder / name) for folder in ("", "teachers/helper"))
        np.testing.assert_array_equal(one, other)


def test_answers_that_cannot_be_used_are_absent_rows(two):
    ran = teach(two, teachers=[{**HELPER, "function": "helper:gaps", "max_malformed": 0.5}])
    assert ran.returncode == 0, ran.stderr
    others, present = read_others(Workspace(two).outputs(40), ("logits",), 40)
    missing = {13, 20, 27, 34}
    assert set(np.flatnonzero(~present["helper"])) == missing
    main, there = read_array(two / "outputs/40/logits.npy"), present["helper"]
    logits = others["helper"]["logits"]
    assert logits.shape == main.shape
    assert not logits[~there].any()
    np.testing.assert_array_equal(logits[there], read_array(two / "outputs/40/teachers/helper/logits.npy"))
    assert "4 calls were charged and gave nothing usable" in ran.stdout
    some, there = read_others(Workspace(two).outputs(40), ("logits",), 20)
    assert (len(some["helper"]["logits"]), there["helper"].sum()) == (20, 19)


@pytest.mark.slow
def test_through_the_stages(two):
    """multi-kd learns from both; a method that reads one teacher does not look at the others."""
    write_params(two, {**STUDY, "teachers": [HELPER]})
    for name, *more in (("teach",), ("compare",), ("train", "multi-kd", 0), ("train", "kd", 0)):
        ran = stage(name, 40, *more, cwd=two)
        assert ran.returncode == 0, ran.stderr
    weights = two / "students/40-kd-0/weights.safetensors"
    before = weights.read_bytes()
    assert before != (two / "students/40-multi-kd-0/weights.safetensors").read_bytes()
    shutil.rmtree(two / "outputs/40/teachers")
    assert stage("train", 40, "kd", 0, cwd=two).returncode == 0
    assert weights.read_bytes() == before
    ran = stage("train", 40, "multi-kd", 0, cwd=two)
    assert ran.returncode == 2
    assert "outputs/40/teachers: no further teacher was asked" in ran.stderr


def test_networks_from_files(workspace):
    """The method is set up for them before anything is asked."""
    for seed, arch in enumerate(("resnet8", "resnet14")):
        torch.manual_seed(seed)
        save_file(build(arch, channels=1, classes=10, size=(28, 28)).state_dict(), workspace / f"{arch}.safetensors")
    small = {"kind": "checkpoint", "name": "small", "arch": "resnet8", "weights": "resnet8.safetensors"}
    large = {"teacher.arch": "resnet14", "teacher.weights": "resnet14.safetensors"}
    methods = {"study.methods": ["multi-kd"], "methods": {"multi-kd": {"weights": {"small": 2.0}}}}
    write_params(workspace, {**large, **methods, "teachers": [small]})
    ran = stage("teach", 40, cwd=workspace)
    assert ran.returncode == 0, ran.stderr
    meta = read_json(workspace / "outputs/40/teachers/small/meta.json")
    assert (meta["teacher"]["description"]["arch"], meta["signals"]) == ("resnet8", ["embedding", "logits"])


CHECKPOINT = {"kind": "checkpoint", "name": "small", "arch": "resnet8", "weights": "small.safetensors"}


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ([{**HELPER, "name": "a/b"}], "teachers.0.name: found 'a/b'; a name is made of letters"),
        ([{**HELPER, "name": "digits-resnet14"}], "teachers.0.name: 'digits-resnet14' is the name of `teacher`"),
        (
            [{key: HELPER[key] for key in ("kind", "function")}],
            "teachers.0.name: 'teacher' stands for the section `teacher`",
        ),
        ([HELPER, {**HELPER, "name": "Helper"}], "teachers.1.name: 'Helper' is the name of teachers.0, too"),
        ([{**HELPER, "prise": 1.0}], "teachers.0.prise: no such parameter. Did you mean 'price'?"),
        ([{**HELPER, "function": None}], "teachers.0: teacher.function: found None"),
        (
            [{"kind": "checkpoint", "name": "helper", "weights": "a.pt", "signals": ["logit"]}],
            "teachers.0.signals: 'logit' is not known. Did you mean 'logits'",
        ),
        ([{**CHECKPOINT, "arch": "resnet9"}], "teachers.0.arch: 'resnet9' is not known"),
        ([{**CHECKPOINT, "weights": "teacher"}], "teachers.0.weights: found 'teacher', which the pretrain stage makes"),
        (
            [{**CHECKPOINT, "weights": "students/40-kd-0/weights.safetensors"}],
            "students/ is made of what teach buys, which cannot depend on it; copy it out",
        ),
        (
            [{"kind": "experts", "name": "experts", "experts": [{"arch": "resnet8", "wights": "a"}]}],
            "Did you mean 'weights'?",
        ),
    ],
)
def test_a_section_that_cannot_be_is_named(workspace, teachers, message):
    write_params(workspace, {"teachers": teachers}, check=False)
    with pytest.raises(UserError) as error:
        load(workspace / "params.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"helpr": 1.0}, "methods.multi-kd.weights: 'helpr' is not known. Did you mean 'helper'?"),
        ({"teacher": 0.0, "helper": 0.0}, "no teacher is left that weighs more than 0"),
    ],
)
def test_weights_of_teachers_that_are_not_there(two, weights, message):
    methods = {"kd": {}, "multi-kd": {"weights": weights}}
    ran = teach(two, methods=methods)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert bills(two) == [0, 0]
