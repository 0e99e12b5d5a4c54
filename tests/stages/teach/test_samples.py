"""Several answers to each sample: each a call with a key of its own, paid once, exported as votes or as the mean of probabilities."""

import os
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from support import PAID, bill, stage, write_params

from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger

# Answers follow from the keys, so that each call's is known; every third names the class after the right one.
TEACHER = """
import os, signal
import numpy as np
import paid

def turned(images, keys):
    answered = paid.answer(images, keys)
    if os.environ.get("KILL_AT") == str(len(open("bill.txt").readlines())):
        os.kill(os.getpid(), signal.SIGKILL)
    return (answered.argmax(1) + [int(key, 16) % 3 == 0 for key in keys]) % 10

def names(images, keys):
    return [str(one) for one in turned(images, keys)]

def probabilities(images, keys):
    return 0.05 + 0.5 * np.eye(10)[turned(images, keys)]
"""
DRAWS = {
    **PAID,
    "teacher.function": "draws:names",
    "teacher.answers": "labels",
    "teacher.samples": 3,
    "teacher.batch_size": 1,
    "study.budgets": [40],
    "study.methods": ["kd"],
    "methods": {"kd": {}},
}
ONCE = {
    "teacher__samples": 1,
    "study__methods": ["pseudo-label"],
    "methods": {"pseudo-label": {}},
}  # a class alone is no logit


@pytest.fixture
def drawn(paid):
    """The teach stage with one of these teachers, in a workspace whose teacher keeps its own bill."""
    (paid / "draws.py").write_text(TEACHER)

    def teach(budget=40, expected=0, **changes):
        write_params(
            paid, {**DRAWS, "study.budgets": [budget], **{k.replace("__", "."): v for k, v in changes.items()}}
        )
        ran = stage("teach", budget, cwd=paid)
        assert ran.returncode == expected, ran.stderr
        return ran

    return teach


def said(folder, budget):
    """The class that each answer of an export named (k, n), from the exports of the single answers."""
    answers = sorted((folder / f"outputs/{budget}/repeats").iterdir())
    return np.stack([read_array(one / "label.npy") for one in answers])


def test_more_answers_to_what_is_owned_pay_only_those_that_are_lacking(drawn, paid):
    drawn(40)
    assert len(set(bill(paid))) == len(bill(paid)) == 39  # 13 samples, three times
    assert read_json(paid / "outputs/40/spend.json") == {"calls": 39, "cost": 0.39, "usable": 13, "repeat_calls": 26}
    assert accounts.status(open_ledger())[0]["samples"] == 13
    ids = read_array(paid / "outputs/40/ids.npy").copy()
    assert "26 new calls" in drawn(65, teacher__samples=5).stdout
    assert np.array_equal(read_array(paid / "outputs/65/ids.npy"), ids)
    assert "0 new calls" in drawn(13, **ONCE).stdout
    assert not (paid / "outputs/13/repeats").exists()
    assert len(set(bill(paid))) == len(bill(paid)) == 65
    assert accounts.verify(open_ledger()) == []


def test_votes_are_exported_as_shares_and_as_the_class_most_named(drawn, paid):
    drawn(60)
    answers, n = said(paid, 60), 20
    assert answers.shape == (3, n)
    assert len({tuple(one) for one in answers}) == 3  # they differ
    votes = np.stack([Counter(column.tolist())[c] for column in answers.T for c in range(10)]).reshape(n, 10)
    logits, label = read_array(paid / "outputs/60/logits.npy"), read_array(paid / "outputs/60/label.npy")
    np.testing.assert_allclose(logits, np.log((votes + 0.1) / 4), rtol=1e-6)
    assert label.tolist() == [max(dict.fromkeys(column), key=column.tolist().count) for column in answers.T]
    assert read_array(paid / "outputs/60/costs.npy").tolist() == [30_000] * n
    assert read_json(paid / "outputs/60/meta.json")["samples"] == 3

    found = read_json(paid / "outputs/60/plausible.json")
    agree = int((answers == answers[0]).all(0).sum())
    assert found["repeats"] == {
        **{"samples": n, "answers": 60, "same_answer": agree, "same_class": agree},
        **{"signal": "label", "largest_difference": 1.0},
    }
    for name, arguments in (("transfer", []), ("compare", [60]), ("train", [60, "kd", 0])):
        assert (ran := stage(name, *arguments, cwd=paid)).returncode == 0, ran.stderr


def test_of_probabilities_the_mean_is_exported(drawn, paid):
    drawn(40, teacher__function="draws:probabilities", teacher__answers="probabilities", teacher__unchecked=["labels"])
    each = [read_array(paid / f"outputs/40/repeats/{k}/logits.npy") for k in range(3)]
    mean = np.exp(each).mean(0)
    np.testing.assert_allclose(np.exp(read_array(paid / "outputs/40/logits.npy")), mean, rtol=1e-5)
    assert len(np.unique(mean.round(6))) > 2


def test_killed_between_two_answers_to_a_sample_nothing_is_paid_twice(drawn, paid):
    write_params(paid, DRAWS)
    command = [sys.executable, "-m", "stages.teach", "40"]
    killed = subprocess.run(command, cwd=paid, env={**os.environ, "KILL_AT": "26"}, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert len(bill(paid)) == 26  # the second answer to the ninth sample
    ran = drawn(40)
    assert "1 calls are unknown" in ran.stdout
    assert len(bill(paid)) == len(set(bill(paid))) == 39
    assert read_json(paid / "outputs/40/meta.json")["n"] == 13
    assert [len(read_array(paid / f"outputs/40/repeats/{k}/ids.npy")) for k in range(3)] == [13, 12, 13]
    costs = read_array(paid / "outputs/40/costs.npy").tolist()
    assert costs == [30_000] * 8 + [20_000] + [30_000] * 4
    assert accounts.verify(open_ledger()) == []


def test_a_clone_owns_each_answer_without_a_call(drawn, paid, monkeypatch):
    drawn(40)
    before = read_array(paid / "outputs/40/logits.npy").copy()
    monkeypatch.setenv("TUITION_LEDGER", str(paid / "elsewhere.db"))
    command = [sys.executable, "-m", "tuition.cli", "ledger", "import", "outputs/40"]
    subprocess.run(command, cwd=paid, check=True)
    assert "0 new calls" in drawn(40).stdout
    assert np.array_equal(read_array(paid / "outputs/40/logits.npy"), before)
    assert len(bill(paid)) == 39
    replayed = subprocess.run([*command[:4], "replay"], cwd=paid, capture_output=True, text=True)
    assert "13 are in the ledger so" in replayed.stdout, replayed.stderr


def test_each_view_of_a_sample_is_asked_for_as_often(drawn, paid):
    drawn(40, teach__views=2)
    assert len(set(bill(paid))) == 39  # 13 views, of seven samples
    ids, views = (read_array(paid / f"outputs/40/{name}.npy") for name in ("ids", "views"))
    assert len(set(ids.tolist())) == 7
    assert len({(id, tuple(view)) for id, view in zip(ids.tolist(), views.tolist(), strict=True)}) == 13
    assert read_array(paid / "outputs/40/positions.npy").shape == (13,)
    assert said(paid, 40).shape == (3, 13)


def test_val_and_test_are_asked_as_often(drawn, paid):
    for split in ("train", "val", "test"):
        labels = paid / "data" / split / "labels.npy"
        np.save(labels, np.full(len(read_array(labels)), -1, dtype=np.int64))
    meta = (paid / "data/meta.json").read_text().replace("{", '{"evaluated_by": "teacher",', 1)
    (paid / "data/meta.json").write_text(meta)
    drawn(60, teach__evaluation=20)
    assert len(set(bill(paid))) == 60  # 6 samples of val and test and 14 of the pool, three times each
    spend = read_json(paid / "outputs/60/spend.json")
    assert (spend["calls"], spend["usable"], spend["evaluation_calls"]) == (42, 14, 18)
    sizes = [len(read_array(paid / f"outputs/60/evaluation/{split}/logits.npy")) for split in ("val", "test")]
    assert sizes == [2, 4]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study.budgets": [2]}, "each asked for 3 times (teacher.samples); valid: 3 to"),
        ({"teach.mixed": True}, "teach.mixed: true, but teacher.samples is 3"),
        ({"teacher.recheck": {"every": 20}}, "a teacher whose answers differ each time would seem to drift"),
    ],
)
def test_what_cannot_be_asked_several_times_is_refused_before_a_call(drawn, paid, changes, message):
    budget = changes.get("study.budgets", [40])[0]
    write_params(paid, {**DRAWS, **changes}, check=False)
    ran = stage("teach", budget, cwd=paid)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert not bill(paid)


def test_a_second_answer_to_the_first_sample_is_within_the_budget_and_tells_whether_it_is_the_same(drawn, paid):
    drawn(100, **ONCE)
    assert len(set(bill(paid))) == len(bill(paid)) == 100
    assert read_json(paid / "outputs/100/spend.json") == {"calls": 100, "cost": 1.0, "usable": 99, "repeat_calls": 1}
    found = read_json(paid / "outputs/100/plausible.json")
    told = next(one for one in found["checks"] if one["name"] == "repeats")
    assert (found["repeats"]["samples"], found["repeats"]["answers"]) == (1, 2)
    assert told["found"].startswith("1 sample was asked for twice: ")
    assert "100 new calls" in drawn(200, **ONCE).stdout
    assert "98 new calls" in drawn(198, teacher__samples=2).stdout
    assert len(set(bill(paid))) == len(bill(paid)) == 298  # of 99 samples both answers, of 100 more the first
