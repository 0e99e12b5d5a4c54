"""Teachers that are wrong in twenty ways and right in twenty unusual ones, each asked in a real purchase."""

import hashlib

import numpy as np
import pytest
from support.purchases import Shop

from tuition.errors import UserError
from tuition.purchase.account import Known
from tuition.purchase.plausible.watch import HELD

NUMBER = 2 * HELD  # samples that each purchase is to buy


def drawn(classes: int, seed: int = 0, shares: list[float] | None = None) -> np.ndarray:
    """Labels (NUMBER,)."""
    return np.random.default_rng(seed).choice(classes, NUMBER, p=shares)


def scores(
    labels: np.ndarray, classes: int = 10, accuracy: float = 0.95, gap: float = 4.0, seed: int = 1
) -> np.ndarray:
    """Logits (NUMBER, classes) of which so many are right."""
    rng = np.random.default_rng(seed)
    top = np.where(rng.random(NUMBER) < accuracy, labels, rng.integers(0, classes, NUMBER))
    given = rng.normal(size=(NUMBER, classes))
    given[np.arange(NUMBER), top] = given.max(1) + gap
    return given


def soft(given: np.ndarray) -> np.ndarray:
    shares = np.exp(given - given.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


def half_drawn_anew(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels of which half are wrong, or right by chance."""
    rng = np.random.default_rng(5)
    return np.where(rng.random(NUMBER) < 0.5, rng.integers(0, classes, NUMBER), labels)


def votes(given: np.ndarray, voters: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.stack([rng.multinomial(voters, row) for row in soft(given)])


def tree(labels: np.ndarray) -> np.ndarray:
    """Shares of the classes in the leaf of a small tree: eight different answers for all samples."""
    leaves = np.random.default_rng(8).dirichlet(np.full(10, 0.3), 8)
    best = leaves[:, labels].argmax(0)
    return leaves[np.where(np.random.default_rng(9).random(NUMBER) < 0.8, best, 3)]


def first_of(given: np.ndarray, first: int) -> list[dict[str, float]]:
    """The first few classes with their probabilities."""
    shares = soft(given)
    return [{str(one): float(row[one]) for one in np.argsort(-row)[:first]} for row in shares]


def sorted_in_batches(given: np.ndarray) -> np.ndarray:
    """As a server answers that orders a batch of sixteen by its surest class."""
    parts = [part[np.argsort(part.argmax(1), kind="stable")] for part in np.split(given, NUMBER // 16)]
    return np.concatenate(parts)


Y, TWO, MANY = drawn(10), drawn(2), drawn(500)
UNEVEN, THREE = drawn(2, 0, [0.99, 0.01]), drawn(3, 0, [0.6, 0.3, 0.1])
NONE = np.full(NUMBER, -1)
PRIOR = np.bincount(THREE) / NUMBER
NOISE = np.random.default_rng(2).normal(size=(NUMBER, 10))
PROBABILITIES, NAMES, FIRST = {"answers": "probabilities"}, {"answers": "labels"}, {"answers": "top-k"}

# name: (answers, labels, classes, settings, calls at most, words); of answers that are malformed or not of the promised scale, and of one
# answer to all, the canary of 8 is enough; labels hold back the bulk for up to HELD calls
WRONG = {
    "two classes swapped": (scores(TWO, 2, 0.8)[:, ::-1], TWO, 2, {}, 64, "no better than chance"),
    "two classes swapped, half of the labels wrong": (
        scores(TWO, 2)[:, ::-1],
        half_drawn_anew(TWO, 2),
        2,
        {},
        HELD,
        "no better than chance",
    ),
    "two classes by index, swapped": (1 - TWO, TWO, 2, NAMES, 64, "no better than chance"),
    "three uneven classes in the order of the alphabet": (
        scores(THREE, 3)[:, [1, 2, 0]],
        THREE,
        3,
        {},
        64,
        "no better than chance",
    ),
    "indices counted from the end": (9 - Y, Y, 10, NAMES, 64, "in another order"),
    "indices counted from one": ((Y + 1) % 10, Y, 10, NAMES, 64, "in another order"),
    "probabilities in another order": (soft(scores(Y))[:, ::-1], Y, 10, PROBABILITIES, 64, "in another order"),
    "the first three, of other samples": (
        first_of(scores(np.roll(Y, 1)), 3),
        Y,
        10,
        FIRST,
        HELD,
        "no better than chance",
    ),
    "distances in place of scores": (
        scores(Y).max(1, keepdims=True) - scores(Y),
        Y,
        10,
        {},
        HELD,
        "no better than chance",
    ),
    "costs in place of scores": (-np.log(soft(scores(Y))), Y, 10, {}, HELD, "no better than chance"),
    "answers of the batch before": (np.roll(scores(Y), 16, 0), Y, 10, {}, HELD, "no better than chance"),
    "answers to noise": (NOISE, Y, 10, {}, HELD, "no better than chance"),
    "half a thousand classes by another list": (
        scores(MANY, 500)[:, np.random.default_rng(3).permutation(500)],
        MANY,
        500,
        {},
        HELD,
        "no better than chance",
    ),
    "a class in front that the data has not": (
        np.column_stack([NOISE[:, 0] - 9, scores(Y)]),
        Y,
        10,
        {},
        8,
        "cannot be used",
    ),
    "one class for all": (np.full(NUMBER, 3), Y, 10, NAMES, 64, "the same answer"),
    "nothing for every class": (np.zeros((NUMBER, 10)), NONE, 10, {}, 8, "the same answer"),
    "every class as likely": (np.full((NUMBER, 10), 0.1), NONE, 10, PROBABILITIES, 8, "the same answer"),
    "how often each class comes": (np.tile(PRIOR, (NUMBER, 1)), THREE, 3, PROBABILITIES, 64, "the same answer"),
    "per mille": ((1000 * soft(scores(Y, gap=1.0))).round(), Y, 10, {}, 8, "shares of 1000"),
    "bytes": ((255 * soft(scores(Y, gap=0.5))).round(), Y, 10, {}, 8, "look like shares of 25"),
    "votes of 500 trees": (votes(scores(Y, gap=0.5), 500), Y, 10, {}, 8, "shares of 500"),
    "per cent of two classes": ((100 * soft(scores(TWO, 2, gap=1.0))).round(1), TWO, 2, {}, 8, "percentages"),
    "half-precision probabilities of 500 classes": (
        soft(scores(MANY, 500)).astype(np.float16),
        MANY,
        500,
        {},
        8,
        "probabilities",
    ),
    "sigmoids in half precision": ((1 / (1 + np.exp(2 - scores(Y)))).astype(np.float16), NONE, 10, {}, 8, "sigmoid"),
    "logits where probabilities were promised": (scores(Y), Y, 10, PROBABILITIES, 8, "cannot be used"),
}

RIGHT = {
    "half precision": (scores(Y).astype(np.float16), Y, 10, {}),
    "two digits": (scores(Y).round(2), Y, 10, {}),
    "whole numbers": (scores(Y).round(), Y, 10, {}),
    "probabilities of two digits": (soft(scores(Y)).round(2), Y, 10, PROBABILITIES),
    "probabilities in half precision, 500 classes": (
        soft(scores(MANY, 500)).astype(np.float16),
        MANY,
        500,
        PROBABILITIES,
    ),
    "sure of all": (np.eye(10)[Y], Y, 10, PROBABILITIES),
    "sure of all, as logits of one height": (np.eye(10)[Y] * 20, Y, 10, {}),
    "unsure of all": (soft(scores(Y, gap=0.01) / 100), Y, 10, PROBABILITIES),
    "none below zero": (np.maximum(scores(Y), 0), Y, 10, {}),
    "far from zero": (1000 + scores(Y), Y, 10, {}),
    "far from zero, nearly the same": (20 + scores(Y) / 100, Y, 10, {}),
    "huge": (scores(Y) * 1e6, Y, 10, {}),
    "centred": (scores(Y) - scores(Y).mean(1, keepdims=True), Y, 10, {}),
    "two classes, hardly better than chance": (scores(TWO, 2, 0.1), TWO, 2, {}),
    "two classes, labels that are a coin's": (scores(TWO, 2), drawn(2, 4), 2, {}),
    "two classes by name, half of the labels wrong": ([str(y) for y in TWO], half_drawn_anew(TWO, 2), 2, NAMES),
    "half of the labels wrong, by index": (Y, half_drawn_anew(Y, 10), 10, NAMES),
    "half a thousand classes, half of the labels wrong": (scores(MANY, 500), half_drawn_anew(MANY, 500), 500, {}),
    "half a thousand classes by index": (MANY, MANY, 500, NAMES),
    "never the rare class": (np.zeros(NUMBER, int), UNEVEN, 2, NAMES),
    "the same class for all of a class": (np.zeros(NUMBER, int), np.zeros(NUMBER, int), 10, NAMES),
    "one label in twenty": (scores(Y), np.where(np.arange(NUMBER) % 20, -1, Y), 10, {}),
    "votes of five neighbours": (votes(scores(Y, gap=2.0), 5) / 5, Y, 10, PROBABILITIES),
    "a small tree": (tree(Y), Y, 10, PROBABILITIES),
    "the best class alone": (first_of(scores(Y), 1), Y, 10, FIRST),
    "three classes that it does not know": (scores(np.where(Y > 6, 0, Y)), Y, 10, {}),
    "ranks": (scores(Y).argsort(1).argsort(1), Y, 10, {}),
}


def shop_of(answers, labels, classes: int, settings: dict) -> Shop:
    """A shop whose teacher gives `answers`, one a sample; `labels` of its samples (−1: unknown)."""
    shop = Shop("http://127.0.0.1:9", NUMBER, batch_size=16)
    place = {one.sample: row for row, one in enumerate(shop.requests)}
    known = {sample: int(labels[row]) for sample, row in place.items() if labels[row] >= 0}

    def answer(images):
        rows = [place[hashlib.sha256(one.tobytes()).hexdigest()] for one in images]
        return [answers[row] for row in rows]

    names = tuple(str(number) for number in range(classes))
    shop.asks(answer, Known(names, known), **{"unchecked": [], "price": 0.01, **settings})
    return shop


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_teacher_is_not_bought(name):
    *teacher, most, words = WRONG[name]
    shop = shop_of(*teacher)
    with pytest.raises(UserError, match=words):
        shop.buy()
    assert sum(shop.calls.values()) <= most


@pytest.mark.parametrize("name", RIGHT)
def test_an_unusual_teacher_is_bought_whole(name):
    shop = shop_of(*RIGHT[name])
    assert shop.buy() == NUMBER
    assert shop.calls == {"done": NUMBER}
