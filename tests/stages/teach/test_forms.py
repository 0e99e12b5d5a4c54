"""Answers as teachers give them, through the stages: what is asked, owned, exported, refused, and what students learn of it."""

import numpy as np
import pytest
from support import PAID, bill, stage, write_params

from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger

TEACHER = """
import paid

def names(images, keys):  # one of them is no digit's
    said = [str(i) for i in paid.answer(images, keys).argmax(1)]
    if len(said) > 8 and said[3] != "nine":
        said[3] = "nine"
    return said

def first_three(images, keys):
    import numpy as np
    logits = paid.answer(images, keys)
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return [{int(c): float(row[c]) for c in row.argsort()[-3:]} for row in p]

def probabilities(images, keys):
    return [[0.1] * 10] * len(paid.answer(images, keys))
"""


@pytest.fixture
def asked(paid):
    """The teach stage with one of the functions above, in a workspace whose teacher keeps its own bill."""
    (paid / "odd.py").write_text(TEACHER)

    def teach(function, answers, methods=("pseudo-label",), **more):
        write_params(
            paid,
            {
                **PAID,
                "teacher.function": f"odd:{function}",
                "teacher.answers": answers,
                "study.methods": list(methods),
                "methods": {name: {} for name in methods},
                "teacher.max_malformed": 0.5,
                **{key.replace("__", "."): value for key, value in more.items()},
            },
        )
        return stage("teach", 40, cwd=paid)

    return teach


def truth(folder, budget=40):
    """The classes of the samples in an export, as the teacher behind it names them."""
    images = read_array(folder / "data/train/images.npy")[read_array(folder / f"outputs/{budget}/positions.npy")]
    flat = images.reshape(len(images), -1).astype(np.float64)
    return (flat @ np.random.default_rng(0).normal(size=(flat.shape[1], 10)) / 1000).argmax(1)


def steps(method):
    """The stages after `teach`, with their arguments, up to the student's figures."""
    return ("transfer", []), ("compare", [40]), ("train", [40, method, 0]), ("evaluate", [40, method, 0])


def test_named_classes_are_owned_and_train_a_student(asked, paid):
    ran = asked("names", "labels")
    assert ran.returncode == 0, ran.stderr
    assert len(bill(paid)) == 40
    meta = read_json(paid / "outputs/40/meta.json")
    assert (meta["signals"], meta["stored"]["types"]) == (["label"], {"label": "int32"})
    assert meta["teacher"]["description"]["answers"] == "labels"
    assert np.array_equal(read_array(paid / "outputs/40/label.npy"), truth(paid))
    ledger = open_ledger()
    kept = accounts.listed(ledger, accounts.find(ledger, None).id, usable=False)
    assert len(kept) == 40 - meta["n"] == 2  # of batches of 8, 16 and 16 one of each of the larger ones
    why, raw = accounts.rejected_answer(ledger, kept[0]["id"])
    assert (why[:32], raw) == ("labels: 'nine' is no class; vali", b"'nine'")
    for name, arguments in steps("pseudo-label"):
        ran = stage(name, *arguments, cwd=paid)
        assert ran.returncode == 0, ran.stderr
    figures = read_json(paid / "results/40-pseudo-label-0/metrics.json")
    assert 0 <= figures["agreement_with_teacher"] <= 1
    assert "top1_recentred" not in figures

    again = asked("names", "labels", methods=["kd"])
    assert again.returncode == 2
    assert (
        "'kd' needs logits, but the teacher gives only label (teacher.answers: it names a class, and no scores)"
        in again.stderr
    )
    assert "Methods that would work: ce, label-smoothing, tf-kd, dml, one, pseudo-label" in again.stderr
    assert len(bill(paid)) == 40


def test_of_the_first_few_the_others_stay_unknown_until_a_method_reads_them(asked, paid):
    ran = asked("first_three", "top-k", methods=["pseudo-label", "kd", "ckd-mse"])
    assert ran.returncode == 0, ran.stderr
    logits = read_array(paid / "outputs/40/logits.npy")
    assert np.isnan(logits).sum(1).tolist() == [7] * 40
    assert np.array_equal(np.nanargmax(logits, 1), truth(paid))
    for name, arguments in steps("kd"):
        ran = stage(name, *arguments, cwd=paid)
        assert ran.returncode == 0, ran.stderr
    assert np.isfinite(read_json(paid / "students/40-kd-0/meta.json")["val_loss"])
    assert "top1_recentred" in read_json(paid / "results/40-kd-0/metrics.json")


def test_probabilities_are_the_same_teachers_by_either_key(asked, paid):
    alike = {"teacher__unchecked": ["labels", "variety"]}  # it says the same of each
    assert asked("probabilities", "probabilities", **alike).returncode == 0
    ran = asked("probabilities", None, teacher__scores="probabilities", **alike)
    assert "0 new calls" in ran.stdout
    assert len(bill(paid)) == 40
