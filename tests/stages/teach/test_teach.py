"""The teach stage: what is paid, counted by the teacher itself; what is refused before anything is paid."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import PAID, bill, stage, write_params

from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger


def same_export(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    return names == sorted(path.name for path in other.iterdir()) and all(
        (one / name).read_bytes() == (other / name).read_bytes() for name in names
    )


def teach(paid: Path, budget: int = 40, **changes) -> subprocess.CompletedProcess:
    write_params(paid, {**PAID, "study.budgets": [budget], **{k.replace("__", "."): v for k, v in changes.items()}})
    return stage("teach", budget, cwd=paid)


def test_a_budget_is_paid_once_and_a_bigger_one_pays_the_rest(paid):
    ran = teach(paid, 40)
    assert ran.returncode == 0, ran.stderr
    assert len(bill(paid)) == 40
    small = {name: read_array(paid / f"outputs/40/{name}.npy").copy() for name in ("positions", "logits", "ids")}
    assert read_json(paid / "spend/40.json") == {"budget": 40, "calls": 40, "cost": 0.4, "new_calls": 40, "usable": 40}

    assert teach(paid, 100).returncode == 0
    assert len(bill(paid)) == 100
    for name, values in small.items():  # nested: the small budget is a prefix
        assert np.array_equal(read_array(paid / f"outputs/100/{name}.npy")[:40], values)

    (paid / "outputs/40").rename(paid / "before")
    assert teach(paid, 40).returncode == 0
    assert len(bill(paid)) == 100
    assert same_export(paid / "before", paid / "outputs/40")


def test_outputs_are_the_teachers_own(paid):
    teach(paid, 40)
    sys.path.insert(0, str(paid))
    try:
        import paid as module

        images = read_array(paid / "data/train/images.npy")[read_array(paid / "outputs/40/positions.npy")]
        np.testing.assert_array_equal(
            read_array(paid / "outputs/40/logits.npy"), module.logits(images).astype(np.float32)
        )
    finally:
        sys.path.remove(str(paid))


def test_a_new_version_is_a_new_teacher_and_an_edited_comment_is_not(paid):
    teach(paid, 40)
    (paid / "paid.py").write_text("# a comment\n" + (paid / "paid.py").read_text())
    teach(paid, 40)
    assert len(bill(paid)) == 40
    teach(paid, 40, teacher__version="2")
    assert len(bill(paid)) == 80


def test_a_clone_with_an_export_owns_it_without_a_call(paid, monkeypatch):
    teach(paid, 40)
    monkeypatch.setenv("TUITION_LEDGER", str(paid / "elsewhere.db"))
    command = [sys.executable, "-m", "tuition.cli", "ledger", "import", "outputs/40"]
    assert subprocess.run(command, cwd=paid).returncode == 0
    assert teach(paid, 40).returncode == 0
    assert len(bill(paid)) == 40


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study.budgets": [601]}, r"study.budgets: 601 calls, but the pool has"),
        ({"teacher.cap": 39}, "teacher.cap: 39 calls in the teacher's life, 0 are spent and this budget needs 40 more"),
        ({"teacher.classes": 12}, "knows 12 classes, but data has 10"),
        ({"teacher.function": "nosuchmodule:answer"}, "teacher.function: cannot import 'nosuchmodule'"),
        ({"teacher.function": "paid:nothing"}, "no function 'nothing'; it has: answer, breaks"),
        ({"methods.kd": {"temperature": "hot"}}, "methods.kd.temperature: found 'hot'"),
        ({"methods.kd": {"temperature": 0.0}}, "methods.kd.temperature: found 0.0. Input should be greater than 0"),
        ({"methods.kd": {"temprature": 4.0}}, "'temprature' is not known. Did you mean 'temperature'?"),
        (
            {"methods.ckd-mse": {"labels": "both"}},
            "methods.ckd-mse.labels: found 'both'. Input should be 'difference', 'ce' or 'none'",
        ),
        ({"compare.sets": {}}, "compare.sets.ckd-mse: no such section"),
    ],
)
def test_bad_input_is_refused_before_anything_is_paid(paid, changes, message):
    write_params(paid, {**PAID, **changes})
    ran = stage("teach", changes.get("study.budgets", [40])[0], cwd=paid)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert bill(paid) == []


def test_a_method_that_needs_what_the_teacher_does_not_give_is_refused(paid):
    (paid / "paid.py").write_text((paid / "paid.py").read_text() + "\nanswer.signals = ('embedding',)\n")
    ran = teach(paid)
    assert "'kd' needs logits, but the teacher gives only embedding (teacher.signals)." in ran.stderr
    assert "Methods that would work: ce, label-smoothing, tf-kd, dml, one, icd, rrd" in ran.stderr
    assert bill(paid) == []


def test_the_lifetime_cap_holds_over_runs(paid):
    assert teach(paid, 40, teacher__cap=50).returncode == 0
    ran = teach(paid, 60, teacher__cap=50)
    assert ran.returncode == 2
    assert "40 are spent and this budget needs 20 more" in ran.stderr
    assert len(bill(paid)) == 40
    assert teach(paid, 40, teacher__cap=10).returncode == 0  # nothing new is needed


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nan", "NaN or infinity in logits"),
        ("wrong_shape", "logits: found shape (1, 7) for 1 images and the data's 10 classes"),
        ("text", "logits: found <U5, expected numbers"),
    ],
)
def test_a_malformed_canary_stops_the_bulk(paid, function, message):
    (paid / "paid.py").write_text((paid / "paid.py").read_text() + f"\n{function}.signals = ('logits',)\n")
    ran = teach(paid, teacher__function=f"paid:{function}")
    assert ran.returncode == 2
    assert message in ran.stderr
    status = accounts.status(open_ledger())[0]
    assert status["calls"]["done"] == 1  # the first call goes alone, and is charged
    assert status["samples"] == 0


def test_an_exception_leaves_unknown_calls_and_a_refusal_refunds(paid):
    assert "RuntimeError: the connection was lost" in teach(paid, teacher__function="paid:breaks").stderr
    assert accounts.status(open_ledger())[0]["calls"] == {"done": 0, "refunded": 0, "unknown": 1, "reserved": 0}
    assert "they are refunded" in teach(paid, teacher__function="paid:refuses", teacher__patience=0.5).stderr
    assert accounts.status(open_ledger())[1]["calls"] == {"done": 0, "refunded": 1, "unknown": 0, "reserved": 0}


def start(paid: Path, budget: int, delay: float) -> subprocess.Popen:
    command = [sys.executable, "-m", "stages.teach", str(budget)]
    environment = {**os.environ, "DELAY": str(delay)}
    return subprocess.Popen(command, cwd=paid, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_two_processes_at_once_pay_each_sample_once(paid):
    write_params(paid, {**PAID, "teacher.batch_size": 4, "study.budgets": [120]})
    both = [start(paid, 120, 0.02) for _ in range(2)]
    for process in both:
        assert process.communicate(timeout=60)[1] == b""
        assert process.returncode == 0
    assert len(bill(paid)) == len(set(bill(paid))) == 120


@pytest.mark.parametrize("idempotent", [True, False])
def test_kill_9_at_any_moment(paid, idempotent):
    """Killed and started again until done: the teacher never received more than the budget, and nothing it answered is lost."""
    write_params(paid, {**PAID, "teacher.batch_size": 4, "study.budgets": [120], "teacher.idempotent": idempotent})
    rng = np.random.default_rng(0)
    for _ in range(5):
        process = start(paid, 120, 0.03)
        before = len(bill(paid))
        while len(bill(paid)) <= before and process.poll() is None:  # kill it while it buys, not while it starts
            time.sleep(0.005)
        time.sleep(float(rng.uniform(0, 0.1)))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert stage("teach", 120, cwd=paid).returncode == 0
    ledger = open_ledger()
    found = accounts.status(ledger)[0]
    assert accounts.verify(ledger) == []
    assert len(set(bill(paid))) <= 120
    if idempotent:  # the same call under the same key: one charge, and the export is whole
        assert (found["calls"]["done"], found["samples"]) == (120, 119)  # of one sample a second answer
    else:  # a call that may have been charged is never sent again
        assert len(bill(paid)) == len(set(bill(paid)))
        assert found["calls"]["done"] == 120 - found["calls"]["unknown"]
        assert 0 < found["calls"]["unknown"] <= 5 * 8


def test_after_a_kill_the_export_is_that_of_an_undisturbed_run(paid, monkeypatch):
    write_params(paid, {**PAID, "teacher.batch_size": 4, "teacher.idempotent": True})
    process = start(paid, 40, 0.05)
    while not bill(paid):
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert stage("teach", 40, cwd=paid).returncode == 0
    (paid / "outputs/40").rename(paid / "killed")
    monkeypatch.setenv("TUITION_LEDGER", str(paid / "fresh.db"))
    assert stage("teach", 40, cwd=paid).returncode == 0
    assert same_export(paid / "killed", paid / "outputs/40")


def test_the_canary_keeps_to_the_batch_size(paid):
    (paid / "paid.py").write_text(
        (paid / "paid.py").read_text()
        + "\ndef one(images, keys):\n    open('sizes.txt', 'a').write(f'{len(images)} ')\n    return logits(images)\n"
    )
    assert teach(paid, 12, teacher__function="paid:one", teacher__batch_size=1).returncode == 0
    assert (paid / "sizes.txt").read_text().split() == ["1"] * 12


@pytest.mark.parametrize("names", ["'logits'", "()", "('ids',)", "('../up',)"])
def test_names_of_signals_that_cannot_be_stored_are_refused(paid, names):
    (paid / "paid.py").write_text((paid / "paid.py").read_text() + f"\nanswer.signals = {names}\n")
    ran = teach(paid)
    assert (ran.returncode, "teacher.function: signals" in ran.stderr) == (2, True)
    assert bill(paid) == []


def test_a_teacher_that_offers_other_signals_than_are_owned_is_told_so(paid):
    teach(paid, 40)
    (paid / "paid.py").write_text((paid / "paid.py").read_text() + "\nanswer.signals = ('logits', 'embedding')\n")
    ran = teach(paid, 60)
    assert "40 samples are owned with logits alone, and asking again may be charged" in ran.stderr
    assert len(bill(paid)) == 40


def test_rows_of_changing_shape_are_malformed_and_not_owned(paid):
    (paid / "paid.py").write_text(
        (paid / "paid.py").read_text()
        + "\ncalls = []\ndef grows(images):\n    calls.append(1)\n"
        + "    return {'logits': logits(images), 'embedding': np.ones((len(images), 3 + len(calls)))}\n"
        + "grows.signals = ('logits', 'embedding')\n"
    )
    ran = teach(paid, 40, teacher__function="paid:grows", teacher__batch_size=16)
    assert "the first answer had (4,)" in ran.stderr
    status = accounts.status(open_ledger())[0]
    assert (status["samples"], status["calls"]["done"]) == (1, 8)


def test_an_answer_in_hand_outlives_ctrl_c(paid):
    """SIGINT while the teacher's answers are being owned, and at any other moment: what was answered whole is owned."""
    (paid / "paid.py").write_text(
        (paid / "paid.py").read_text()
        + "\ndef interrupts(images):\n    import signal, threading\n"
        + "    threading.Timer(0.0, os.kill, (os.getpid(), signal.SIGINT)).start()\n    return logits(images)\n"
    )
    ran = teach(paid, 16, teacher__function="paid:interrupts")
    assert ran.returncode == 130
    status = accounts.status(open_ledger())[0]
    assert status["calls"]["reserved"] == 0
    assert status["samples"] + status["calls"]["unknown"] == 1


def test_sys_exit_in_the_teacher_is_no_success(paid):
    (paid / "paid.py").write_text((paid / "paid.py").read_text() + "\ndef leaves(images):\n    raise SystemExit(0)\n")
    ran = teach(paid, teacher__function="paid:leaves")
    assert (ran.returncode, "sys.exit(0)" in ran.stderr) == (2, True)


def test_a_store_of_mlflow_that_cannot_be_opened_stops_before_anything_is_paid(paid):
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "./mlruns"}
    done = stage("teach", 40, cwd=paid, env=environment)
    assert (done.returncode, bill(paid)) == (2, []), done.stderr
    assert "error: MLFLOW_TRACKING_URI: found './mlruns', a folder" in done.stderr
    assert stage("teach", 40, cwd=paid).returncode == 0
    paid_for = bill(paid)
    assert stage("teach", 40, cwd=paid, env=environment).returncode == 0  # nothing is to be bought
    assert bill(paid) == paid_for
