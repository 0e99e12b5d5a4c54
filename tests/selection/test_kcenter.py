"""`kcenter`: the traversal by its definition, exact arithmetic, and features that fit."""

import itertools

import numpy as np
import pytest
from support.pools import IDS, IMAGES, order

from tuition.errors import UserError
from tuition.inputs.images.files import content_id
from tuition.selection.kcenter import LONGEST, traverse, whole


def brute_force(features, count):
    """The traversal by definition, in Python integers."""
    rows = [[int(x) for x in row] for row in features]
    away = lambda a, b: sum((x - y) ** 2 for x, y in zip(a, b, strict=True))  # noqa: E731
    chosen = [min(range(len(rows)), key=lambda i: away(rows[i], [0] * len(rows[0])))]
    while len(chosen) < count:
        rest = [i for i in range(len(rows)) if i not in chosen]
        chosen.append(max(rest, key=lambda i: min(away(rows[i], rows[j]) for j in chosen)))
    return chosen


def test_kcenter_is_the_traversal_by_its_definition():
    rows = whole(np.random.default_rng(0).normal(size=(60, 5)))
    assert traverse(rows, 60).tolist() == brute_force(rows, 60)
    few = np.random.default_rng(1).integers(0, 3, size=(40, 2)).astype(np.float32)  # many equal ones and ties
    assert traverse(few, 40).tolist() == brute_force(few, 40)


def test_kcenter_on_a_line_by_hand(tmp_path):
    features = np.array([[0.0], [1.0], [2.0], [10.0], [-10.0], [5.0]])  # mean 4/3
    np.save(tmp_path / "line.npy", features)
    found = order("kcenter", 4, tmp_path / "line.npy", images=IMAGES[:6], ids=IDS[:6])
    assert features[found[:4], 0].tolist() == [1.0, -10.0, 10.0, 5.0]


def test_kcenter_covers_within_twice_the_least_radius():
    rows = whole(np.random.default_rng(2).normal(size=(18, 2))).astype(np.float64)
    away = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    least = min(away[:, list(centres)].min(axis=1).max() for centres in itertools.combinations(range(18), 4))
    assert least <= away[:, traverse(rows.astype(np.float32), 4)].min(axis=1).max() <= 2 * least


@pytest.mark.parametrize("shape", [(500, 3), (300, 64), (50, 2000)])
@pytest.mark.parametrize("spread", [1e-20, 1.0, 1e20])
def test_distances_are_exact_in_float32_whatever_the_features(shape, spread):
    features = np.random.default_rng(0).standard_t(2, size=shape) * spread + 7 * spread
    rows = whole(features)
    exact = rows.astype(np.int64)
    assert np.array_equal(exact, rows)
    assert (exact**2).sum(axis=1).max() <= LONGEST**2 < 2**24
    for one in (0, 17):
        assert np.array_equal(rows @ rows[one], exact @ exact[one])
        assert np.array_equal(rows[:, ::-1] @ rows[one, ::-1], exact @ exact[one])
    centred = features - features.mean(axis=0)
    longest = np.linalg.norm(centred, axis=1).max()
    assert np.allclose(rows / LONGEST, centred / longest, atol=(1 + np.sqrt(shape[1])) / LONGEST)


def test_kcenter_sees_pixels_alone_and_spreads_further_than_chance():
    first = order("kcenter", 30)[:30]
    assert np.array_equal(first, order("kcenter", 30, seed=5)[:30])
    backwards = order("kcenter", 30, images=IMAGES[::-1], ids=IDS[::-1])[:30]
    assert np.array_equal(first, 199 - backwards)
    flat = IMAGES.reshape(200, -1).astype(float)

    def radius(chosen):
        return np.linalg.norm(flat[:, None] - flat[chosen][None], axis=2).min(axis=1).max()

    assert radius(first) < min(radius(order("random", seed=seed)[:30]) for seed in range(5))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(28, 28), (8, 9), (5, 40)])
def test_kcenter_takes_images_of_any_shape(channels, shape):
    images = np.random.default_rng(0).integers(0, 256, (50, channels, *shape)).astype(np.uint8)
    ids = np.array([content_id(image) for image in images], dtype="S64")
    assert sorted(order("kcenter", 50, images=images, ids=ids)) == list(range(50))


def test_kcenter_of_images_that_look_equal_is_shuffled(tmp_path):
    np.save(tmp_path / "same.npy", np.full((200, 3), 4.0, dtype=np.float16))
    assert np.array_equal(order("kcenter", 200, tmp_path / "same.npy"), order("random"))


def test_a_pool_with_the_same_content_twice_keeps_features_and_samples_together(tmp_path):
    features = np.concatenate([np.arange(100.0), np.arange(100.0)])[:, None]
    np.save(tmp_path / "twice.npy", features)
    images, ids = np.concatenate([IMAGES[:100]] * 2), np.concatenate([IDS[:100]] * 2)
    found = order("kcenter", 3, tmp_path / "twice.npy", images=images, ids=ids)
    assert sorted(found) == list(range(100))
    assert features[found[0], 0] in (49, 50)
    assert set(features[found[1:3], 0]) == {0, 99}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (None, r"teach\.features: .*none\.npy: no such file; valid: a \.npy file \(N, d\)"),
        (np.zeros((199, 4)), "199 rows, but data/train has 200 samples"),
        (np.zeros(200), r"found float64 \(200,\), expected numbers \(N, d\)"),
        (np.zeros((200, 0)), r"found float64 \(200, 0\)"),
        (np.array([["a"]] * 200), r"found <U1 \(200, 1\)"),
        (np.array([[{}]] * 200), r"not a readable \.npy file of numbers"),
        (np.where(np.arange(400).reshape(200, 2) == 15, np.nan, 1.0), "row 7 holds NaN or infinity"),
        (np.full((200, 2), 1e308) * np.array([[1.0, -1.0]]) * (np.arange(200) % 2)[:, None], "distances overflow"),
    ],
)
def test_features_that_do_not_fit_are_refused(values, message, tmp_path):
    path = tmp_path / ("none.npy" if values is None else "features.npy")
    if values is not None:
        np.save(path, values)
    with pytest.raises(UserError, match=message):
        order("kcenter", 10, path)
