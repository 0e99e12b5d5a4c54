"""The linear probe against scikit-learn's logistic regression, and what it may not look at."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from stages.evaluate import probe

CPU = torch.device("cpu")


def blobs(count: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Four classes around four points in six dimensions, of very different scales."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    points = np.random.default_rng(99).normal(size=(4, 6))
    return ((points[labels] + rng.normal(size=(count, 6)) * spread) * [1, 1e3, 1e-3, 1, 5, 1] + 7).astype(
        np.float32
    ), labels


@pytest.mark.parametrize("l2", [1.0, 0.01, 1e-4])
def test_the_minimum_is_scikit_learns(l2):
    x, y = blobs(300, 1.0, 0)
    x = (x - x.mean(0, dtype=np.float64)) / x.std(0, dtype=np.float64)
    weights = probe.fit(torch.from_numpy(x), torch.from_numpy(y), torch.zeros(4, 7, dtype=torch.float64), l2).numpy()
    other = LogisticRegression(C=1 / (l2 * 300), tol=1e-10, max_iter=10_000).fit(x, y)
    assert weights[:, :-1] == pytest.approx(other.coef_, abs=2e-4)
    bias = weights[:, -1] - weights[:, -1].mean()  # one number added to every class says nothing
    assert bias == pytest.approx(other.intercept_ - other.intercept_.mean(), abs=2e-4)


def test_separable_classes_are_told_apart_whatever_the_scale():
    train, val, test = (blobs(200, 0.05, seed) for seed in range(3))
    assert probe.linear_probe(train, val, test, 4, CPU)["transfer_top1"] == 1.0


def test_a_dimension_without_spread_changes_nothing():
    splits = [blobs(100, 1.0, seed) for seed in range(3)]
    wider = [(np.hstack([x, np.full((len(x), 1), 3.3, np.float32)]), y) for x, y in splits]
    assert probe.linear_probe(*wider, 4, CPU) == probe.linear_probe(*splits, 4, CPU)


def test_strength_is_chosen_on_validation_alone():
    """Noise in many dimensions: the strength matters, and the test labels have no say in it."""
    rng = np.random.default_rng(5)
    splits = []
    for count in (60, 400, 400):
        labels = rng.integers(0, 2, count)
        x = rng.normal(size=(count, 100))
        x[:, 0] += 3.0 * labels
        splits.append((x, labels))
    train, val, test = splits
    found = probe.linear_probe(train, val, test, 2, CPU)
    mean, std = train[0].mean(axis=0), train[0].std(axis=0)
    right, scored = {}, {}
    for l2 in probe.STRENGTHS:
        other = LogisticRegression(C=1 / (l2 * 60), tol=1e-9, max_iter=10_000).fit((train[0] - mean) / std, train[1])
        right[l2] = other.score((val[0] - mean) / std, val[1])
        scored[l2] = other.score((test[0] - mean) / std, test[1])
    assert len(set(right.values())) > 2  # the choice matters
    assert found["transfer_l2"] == max(l2 for l2 in right if right[l2] == max(right.values()))
    turned = probe.linear_probe(train, val, (test[0], 1 - test[1]), 2, CPU)
    assert turned["transfer_l2"] == found["transfer_l2"]
    assert turned["transfer_top1"] == pytest.approx(1 - found["transfer_top1"])
    assert found["transfer_top1"] == pytest.approx(scored[found["transfer_l2"]], abs=1.5 / 400)


def test_repeats_bit_for_bit():
    splits = [blobs(100, 1.0, seed) for seed in range(3)]
    assert probe.linear_probe(*splits, 4, CPU) == probe.linear_probe(*splits, 4, CPU)
    x, y = torch.from_numpy(splits[0][0]).double(), torch.from_numpy(splits[0][1])
    first, again = (probe.fit(x, y, torch.zeros(4, 7, dtype=torch.float64), 0.1) for _ in range(2))
    assert torch.equal(first, again)
