"""Wrong teachers are found out at the canary; right ones, however unusual, are not stopped."""

import numpy as np
import pytest
from support import PAID, bill, stage, write_params

from tuition.files import read_array, read_json, write_json
from tuition.params.teacher import Check, teacher_settings
from tuition.purchase.plausible.checks import CHECKS, run
from tuition.purchase.plausible.evidence import evidence_of
from tuition.purchase.plausible.watch import HELD


def data(classes: int, seed: int, shares: list[float] | None = None) -> np.ndarray:
    """Labels (HELD,)."""
    return np.random.default_rng(seed).choice(classes, HELD, p=shares)


def logits(labels: np.ndarray, classes: int, seed: int, accuracy: float = 0.95, gap: float = 4.0) -> np.ndarray:
    """Scores of a teacher that is right about a share of the samples."""
    rng = np.random.default_rng(seed)
    top = np.where(rng.random(len(labels)) < accuracy, labels, rng.integers(0, classes, len(labels)))
    scores = rng.normal(size=(len(labels), classes))
    scores[np.arange(len(labels)), top] = scores.max(1) + gap
    return scores


def soft(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def order(classes: int, seed: int) -> np.ndarray:
    """A permutation that leaves no class in its place."""
    return np.roll(np.random.default_rng(seed).permutation(classes), 1)[
        np.argsort(np.random.default_rng(seed).permutation(classes))
    ]


def found(scores: np.ndarray, labels: np.ndarray, classes: int, promised: str = "logits", name: str = "logits"):
    """(the checks that failed, the number of answers that it took) at the canary's growing numbers; (set(), HELD) where none did."""
    number = 8
    while number <= HELD:
        samples = [f"{i:064x}" for i in range(number)]
        known = {id: int(label) for id, label in zip(samples, labels, strict=False) if label >= 0}
        names = [f"class {i}" for i in range(classes)]
        findings = run(evidence_of(samples, {name: scores[:number]}, names, known, promised), ())
        failed = {one.name: f"{one.found} {one.advice}" for one in findings if one.state == "failed"}
        if failed or not any(one.undecided for one in findings):
            return failed, number
        number *= 2
    return {}, HELD


def one(classes: int, seed: int, row: np.ndarray):
    return np.tile(row, (HELD, 1)), data(classes, seed), classes


WRONG = {
    "another order of 10": lambda y: (logits(y, 10, 1)[:, order(10, 1)], "labels"),
    "another order, weak": lambda y: (logits(y, 10, 2, 0.6)[:, order(10, 2)], "labels"),
    "moved by one": lambda y: (np.roll(logits(y, 10, 3), 1, 1), "labels"),
    "turned round": lambda y: (logits(y, 10, 4)[:, ::-1], "labels"),
    "as text sorts numbers, without 0 and 1": lambda y: (logits(y, 10, 5)[:, [9, 2, 0, 1, 3, 4, 5, 6, 7, 8]], "labels"),
    "noise": lambda y: (np.random.default_rng(6).normal(size=(len(y), 10)), "labels"),
    "other rows": lambda y: (logits(np.roll(y, 3), 10, 7), "labels"),
    "rows in reverse": lambda y: (logits(y, 10, 8)[::-1], "labels"),
    "the least likely class": lambda y: (-logits(y, 10, 9), "labels"),
    "one fine answer": lambda y: (np.tile(np.linspace(-1, 3, 10), (len(y), 1)), "variety"),
    "zeros and one fine number": lambda y: (np.tile(np.random.default_rng(1).normal(size=10), (len(y), 1)), "variety"),
    "probabilities": lambda y: (soft(logits(y, 10, 10)), "scale"),
    "probabilities, rounded": lambda y: (soft(logits(y, 10, 11)).round(3) * 1.002, "scale"),
    "probabilities in half precision": lambda y: (soft(logits(y, 10, 12)).astype(np.float16), "scale"),
    "percentages": lambda y: (100 * soft(logits(y, 10, 13)), "scale"),
    "percentages, rounded": lambda y: ((100 * soft(logits(y, 10, 14))).round(1), "scale"),
    "whole percentages": lambda y: ((100 * soft(logits(y, 10, 15, gap=2.0))).round(2), "scale"),
    "sigmoid": lambda y: (1 / (1 + np.exp(-logits(y, 10, 16))), "scale"),
    "one-hot": lambda y: (np.eye(10)[logits(y, 10, 17).argmax(1)], "scale"),
    "uncertain probabilities": lambda y: (soft(logits(y, 10, 18, gap=0.1) / 10), "scale"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_teacher_is_found_out_at_the_canary(name):
    labels = data(10, 0)
    scores, check = WRONG[name](labels)
    failed, number = found(scores, labels, 10)
    assert check in failed
    assert number == 8 or check == "labels"  # only labels need more than a few


def test_two_and_five_hundred_classes_in_another_order():
    two, many = data(2, 0), data(500, 0)
    assert "labels" in found(logits(two, 2, 0)[:, ::-1], two, 2)[0]
    failed, number = found(logits(many, 500, 0)[:, order(500, 0)], many, 500)
    assert "'class" in failed["labels"]
    assert number <= HELD


def test_the_order_that_would_fit_is_named():
    labels = np.arange(HELD) % 10
    turned = order(10, 1)
    failed, _ = found(logits(labels, 10, 1, 1.0)[:, turned], labels, 10)
    assert str(np.argsort(turned).tolist()) in failed["labels"]


def half_wrong(labels: np.ndarray, classes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < 0.5, rng.integers(0, classes, len(labels)), labels)


Y, TWO, MANY = data(10, 0), data(2, 0), data(500, 0)
UNEVEN, RARE = data(10, 0, [0.91, *[0.01] * 9]), data(2, 0, [0.97, 0.03])
RIGHT = {
    "confident": (logits(Y, 10, 1, gap=60.0), Y, 10),
    "uncertain": (logits(Y, 10, 2, gap=0.01) / 20, Y, 10),
    "weak": (logits(Y, 10, 3, 0.3), Y, 10),
    "very weak": (logits(Y, 10, 4, 0.15), Y, 10),
    "two classes": (logits(TWO, 2, 5), TWO, 2),
    "two classes, weak": (logits(TWO, 2, 6, 0.3), TWO, 2),
    "five hundred classes": (logits(MANY, 500, 7, 0.7), MANY, 500),
    "five hundred classes, weak": (logits(MANY, 500, 8, 0.1), MANY, 500),
    "half of the labels wrong": (logits(Y, 10, 9), half_wrong(Y, 10, 0), 10),
    "half of the labels wrong, two classes": (logits(TWO, 2, 10), half_wrong(TWO, 2, 1), 2),
    "half of the labels wrong, 500 classes": (logits(MANY, 500, 11), half_wrong(MANY, 500, 2), 500),
    "uneven": (logits(UNEVEN, 10, 12), UNEVEN, 10),
    "a rare class": (logits(RARE, 2, 13), RARE, 2),
    "a rare class, never named": (
        np.column_stack([logits(RARE, 2, 14).max(1) + 1, -logits(RARE, 2, 15)[:, 0]]),
        RARE,
        2,
    ),
    "no labels": (logits(Y, 10, 16), np.full(HELD, -1), 10),
    "few labels": (logits(Y, 10, 17), np.where(np.arange(HELD) < 3, Y, -1), 10),
    "one class in the pool": (logits(np.zeros(HELD, int), 10, 18), np.zeros(HELD, int), 10),
    "logarithms of probabilities": (np.log(soft(logits(Y, 10, 19))), Y, 10),
    "the best five alone": (
        np.where(logits(Y, 10, 20) >= np.sort(logits(Y, 10, 20), 1)[:, [-5]], logits(Y, 10, 20), np.nan),
        Y,
        10,
    ),
    "two classes confused": (logits(Y, 10, 21)[:, [1, 0, *range(2, 10)]], Y, 10),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_teacher_is_not_stopped(name):
    assert found(*RIGHT[name])[0] == {}


@pytest.mark.parametrize(("classes", "share"), [(2, 0.97), (10, 0.8)])
def test_labels_that_are_the_same_for_many_are_no_evidence(classes, share):
    """Of answers that are a class and nothing else, many are equal."""
    labels = data(classes, 3, [share, *[(1 - share) / (classes - 1)] * (classes - 1)])
    assert found(labels, labels, classes, name="label")[0] == {}
    assert found(labels, np.full(HELD, -1), classes, name="label")[0] == {}


def test_a_weak_teacher_is_stopped_no_more_often_than_is_said():
    stopped = 0
    for seed in range(200):
        labels = data(10, seed)
        stopped += bool(found(logits(labels, 10, seed, 0.2), labels, 10)[0])
    assert stopped <= 3


def test_every_check_may_be_switched_off():
    assert set(CHECKS) <= set(Check.__args__)
    with pytest.raises(ValueError, match="unchecked"):
        teacher_settings(unchecked=["lables"])
    scores, _, classes = one(10, 0, np.linspace(-1, 3, 10))
    evidence = evidence_of([f"{i}" for i in range(len(scores))], {"logits": scores}, [""] * classes, {}, "logits")
    assert {one.state for one in run(evidence, ["variety", "labels", "scale"])} == {"unchecked"}


TEACHERS = """
import hashlib
import numpy as np
import paid

def truth():
    images, labels = np.load("data/train/images.npy"), np.load("data/train/labels.npy")
    return {hashlib.sha256(image.tobytes()).hexdigest(): label for image, label in zip(images, labels)}

def right(images, keys):
    paid.answer(images, keys)
    known = truth()
    rows = [known[hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()] for image in images]
    return np.eye(10)[rows] * 6 + np.random.default_rng(0).normal(size=(len(images), 10)) - 2

def permuted(images, keys):
    return right(images, keys)[:, [7, 3, 9, 0, 2, 1, 8, 4, 6, 5]]

def constant(images, keys):
    return right(images, keys) * 0 + np.linspace(-1, 3, 10)

def percent(images, keys):
    scores = np.exp(right(images, keys))
    return (100 * scores / scores.sum(1, keepdims=True)).round(1)

def mutates(images, keys):
    images -= images
    paid.answer(images, keys)
    return np.random.default_rng(len(keys)).normal(size=(len(images), 10))
"""


def teach(folder, name: str, budget: int = 300, **changes):
    (folder / "odd.py").write_text(TEACHERS)
    more = {"teacher.function": f"odd:{name}", "study.budgets": [budget], "teacher.unchecked": [], **changes}
    write_params(folder, {**PAID, **more})
    return stage("teach", budget, cwd=folder)


@pytest.mark.parametrize(
    ("name", "most", "words"),
    [
        ("permuted", 32, "in another order"),
        ("constant", 8, "the same answer, to the bit"),
        ("percent", 8, "these look like percentages, not logits"),
    ],
)
def test_a_wrong_teacher_is_not_bought(paid, name, most, words):
    ran = teach(paid, name)
    assert ran.returncode == 2
    assert words in ran.stderr
    assert len(bill(paid)) <= most
    assert f"{len(bill(paid))} calls were sent and charged" in ran.stderr
    again = teach(paid, name)
    assert "No call was sent" in again.stderr
    assert len(bill(paid)) <= most
    assert not (paid / "outputs/300/meta.json").exists()


def test_a_right_teacher_and_what_the_checks_found(paid):
    assert teach(paid, "right", 40).returncode == 0
    found = {one["name"]: one for one in read_json(paid / "outputs/40/plausible.json")["checks"]}
    assert {one["state"] for name, one in found.items() if name in ("classes", *CHECKS)} == {"passed"}
    assert found["labels"]["found"].startswith("40 of 40 answers agree")


def test_a_check_that_is_switched_off_is_told(paid):
    assert teach(paid, "constant", 40, **{"teacher.unchecked": ["variety", "labels"]}).returncode == 0
    found = {one["name"]: one["state"] for one in read_json(paid / "outputs/40/plausible.json")["checks"]}
    assert (found["variety"], found["labels"], found["scale"]) == ("unchecked", "unchecked", "passed")


def rename(folder, names: list[str], places: list[int]) -> None:
    """Give the data's classes these names; `places`: the new index of each class."""
    for meta in (folder / "data/meta.json", folder / "data/train/meta.json"):
        write_json(meta, read_json(meta) | {"classes": names})
    labels = read_array(folder / "data/train/labels.npy")
    np.save(folder / "data/train/labels.npy", np.array(places)[labels])


def test_answers_follow_their_classes_by_name(paid):
    assert teach(paid, "right", 40).returncode == 0
    before = read_array(paid / "outputs/40/logits.npy").copy()
    names = [str(i) for i in range(10)]
    turned = names[::-1]
    rename(paid, turned, [9 - i for i in range(10)])
    assert teach(paid, "right", 60).returncode == 0, "the teacher follows the data's new order"
    logits = read_array(paid / "outputs/60/logits.npy")
    assert np.array_equal(logits[:40], before[:, ::-1])
    right = read_array(paid / "data/train/labels.npy")[read_array(paid / "outputs/60/positions.npy")]
    assert np.array_equal(logits.argmax(1), right)
    assert len(bill(paid)) == 60


@pytest.mark.parametrize("names", [["ant", *map(str, range(1, 10))], [*map(str, range(11))]])
def test_other_classes_are_refused_before_a_call(paid, names):
    assert teach(paid, "right", 40).returncode == 0
    rename(paid, names, list(range(10)))
    ran = teach(paid, "right", 60)
    assert ran.returncode == 2
    assert "0, 1, 2" in ran.stderr
    assert ", ".join(names[:3]) in ran.stderr
    assert "Nothing was sent" in ran.stderr
    assert len(bill(paid)) == 40
