"""Purchase strategies as users meet them: nested, refused where they cannot work, paid once, and watched by DVC."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support import PAID, ROOT, bill, stage, write_params
from support.pools import IDS, order, write_student
from test_pipeline import Workspace

from tuition.errors import UserError
from tuition.files import read_array
from tuition.params import load


def guides(folder):
    """A guide for each strategy that needs one."""
    listed = folder / "order.txt"
    listed.write_text("".join(f"{one.decode()}\n" for one in IDS[::-1]))
    return {
        "kcenter": None,
        "kmeans": None,
        "probcover": None,
        "typiclust": None,
        "uncertain": write_student(folder / "guide"),
        "file": listed,
    }


@pytest.mark.parametrize("strategy", ["kcenter", "kmeans", "probcover", "typiclust", "uncertain", "file"])
def test_a_smaller_budget_is_a_prefix_of_a_larger_one_and_all_is_a_permutation(strategy, tmp_path):
    guide = guides(tmp_path)[strategy]
    large = order(strategy, 120, guide)
    for budget in (1, 2, 40, 119):
        assert np.array_equal(order(strategy, budget, guide)[:budget], large[:budget])
    assert sorted(large) == sorted(order(strategy, None, guide)) == list(range(200))
    assert not np.array_equal(large[:120], order("random")[:120])


ORDERED = """
import sys, numpy as np
from support.pools import order, pool
images, ids = pool(600, channels=3)
np.save(sys.argv[1], order("kcenter", 200, images=images, ids=ids))
np.save(sys.argv[2], order("uncertain", 200, sys.argv[3], images=images, ids=ids))
"""


@pytest.mark.slow
@pytest.mark.long
def test_the_order_does_not_depend_on_the_number_of_threads(tmp_path):
    write_student(tmp_path / "guide", channels=3, mean=[0.1] * 3, std=[0.3] * 3)
    for threads in ("1", "2"):
        places = [str(tmp_path / f"{name}{threads}.npy") for name in ("kcenter", "uncertain")]
        wanted = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), threads)
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests/teach")))
        command = [sys.executable, "-c", ORDERED, *places, str(tmp_path / "guide")]
        subprocess.run(command, check=True, env={**os.environ, **wanted, "PYTHONPATH": paths})
    for name in ("kcenter", "uncertain"):
        assert np.array_equal(*(np.load(tmp_path / f"{name}{threads}.npy") for threads in "12"))


@pytest.mark.parametrize(
    ("teach", "message"),
    [
        ({"strategy": "kcentre"}, r"teach\.strategy: found 'kcentre'.*'kcenter'"),
        ({"strategy": "uncertain"}, r"teach\.student: found null; strategy 'uncertain' needs the path of a folder"),
        ({"strategy": "file"}, r"teach\.order: found null; strategy 'file' needs the path of a text file"),
        ({"strategy": "file", "order": ""}, r"teach\.order: found ''"),
        (
            {"strategy": "file", "order": "order.txt"},
            r"teach\.watch: found 'tuition/files\.py', but .*'order\.txt'; name that here",
        ),
        (
            {"strategy": "uncertain", "student": "./students/400-kd-0", "watch": "students/400-kd-0"},
            r"teach\.student: .*students/ is made of what teach buys.*`cp -r \./students/400-kd-0 guide`",
        ),
        (
            {"strategy": "kcenter", "features": "outputs/40/embedding.npy", "watch": "outputs"},
            "outputs/ is made of what",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(teach, message, tmp_path):
    write_params(tmp_path, {f"teach.{key}": value for key, value in teach.items()}, check=False)
    with pytest.raises(UserError, match=message):
        load(tmp_path / "params.yaml")


def test_settings_that_work_are_taken(tmp_path):
    for teach in (
        {"strategy": "kcenter"},
        {"strategy": "random", "order": "order.txt"},  # not read
        {"strategy": "file", "order": "lists/a.txt", "watch": "./lists"},
        {"strategy": "uncertain", "student": "/elsewhere/guide", "watch": "/elsewhere/guide"},
    ):
        write_params(tmp_path, {f"teach.{key}": value for key, value in teach.items()})
        assert load(tmp_path / "params.yaml").teach.guide == (
            teach.get("student") or teach.get("order") if "watch" in teach else None
        )


@pytest.mark.parametrize("strategy", ["kcenter", "uncertain", "file"])
def test_teach_pays_what_the_strategy_chose_and_a_larger_budget_the_rest(strategy, paid):
    ids = np.array(read_array(paid / "data/train/ids.npy"))
    (paid / "order.txt").write_text("".join(f"{one.decode()}\n" for one in ids[100:20:-1]))
    write_student(paid / "guide")
    settings = {"kcenter": {}, "uncertain": {"student": "guide"}, "file": {"order": "order.txt"}}[strategy]
    settings |= {"strategy": strategy, "watch": next(iter(settings.values()), "tuition/files.py")}
    write_params(
        paid, {**PAID, "study.methods": ["ce", "kd"], **{f"teach.{key}": value for key, value in settings.items()}}
    )
    positions = []
    for budget in (40, 80):
        ran = stage("teach", budget, cwd=paid)
        assert ran.returncode == 0, ran.stderr
        assert "40 new calls" in ran.stdout
        positions.append(np.array(read_array(paid / f"outputs/{budget}/positions.npy")))
    assert len(bill(paid)) == len(set(bill(paid))) == 80
    assert np.array_equal(positions[1][:40], positions[0])
    wanted = {"classes": json.loads((paid / "data/meta.json").read_text())["classes"], "guide": load().teach.guide}
    assert np.array_equal(
        positions[1], order(strategy, 80, images=read_array(paid / "data/train/images.npy"), ids=ids, **wanted)[:80]
    )


def test_teach_refuses_a_wrong_guide_before_it_asks(paid):
    (paid / "order.txt").write_text("no id\n")
    write_params(
        paid,
        {
            **PAID,
            "study.methods": ["ce", "kd"],
            "teach.strategy": "file",
            "teach.order": "order.txt",
            "teach.watch": "order.txt",
        },
    )
    ran = stage("teach", 40, cwd=paid)
    assert ran.returncode == 2
    assert (
        ran.stderr
        == "error: teach.order: order.txt: line 1: found 'no', expected a content id: 64 hexadecimal digits\n"
    )
    assert bill(paid) == []


@pytest.mark.slow
def test_dvc_notices_a_changed_list_and_only_what_is_new_is_paid(tmp_path):
    (tmp_path / "one").mkdir()
    study = Workspace(tmp_path / "one", tmp_path / "bill.txt")
    study.dvc("repro", "prepare")
    ids = [one.decode() for one in read_array(study.folder / "data/train/ids.npy")]
    listed = study.folder / "order.txt"
    listed.write_text("\n".join(ids[:40]))
    study.change(teach__strategy="file", teach__order="order.txt", teach__watch="order.txt")
    study.dvc("repro", "teach@40")
    assert "up to date" in study.dvc("repro", "teach@40")
    listed.write_text("\n".join(ids[10:50]))
    assert "order.txt" in study.dvc("status", "teach@40")
    assert "Running stage 'teach@40'" in study.dvc("repro", "--dry", "teach@40")
    study.dvc("repro", "teach@40")
    assert read_array(study.folder / "outputs/40/positions.npy").tolist() == list(range(10, 50))
    assert len(bill(tmp_path)) == len(set(bill(tmp_path))) == 50
