"""Mixed inputs: drawn before the teacher is called, nested, paid once, and what mixkd trains on."""

import sys

import numpy as np
from support import PAID, bill, stage, write_params

from tuition.files import read_array, read_json
from tuition.inputs.images.files import content_id
from tuition.inputs.images.pool import mix
from tuition.purchase.mixed import draw
from tuition.selection.order import purchase_order

MIXED = {
    **PAID,
    "teach.mixed": True,
    "study.methods": ["kd", "mixkd"],
    "methods": {"kd": {}, "mixkd": {}},
    "study.budgets": [40],
}


def test_pairs_are_nested_distinct_and_the_same_in_a_larger_pool():
    ids = np.array([content_id(np.full((1, 8, 8), i, dtype=np.uint8)).encode() for i in range(200)])
    order = purchase_order("random", ids, np.zeros(200, dtype=np.int64), 0)
    small, large = draw(order, ids, 60, 0), draw(order, ids, 100, 0)
    for one, other in zip(small, large, strict=True):
        assert np.array_equal(one, other[: len(one)])
    assert len(small[0]) == 30
    assert (small[0] != small[1]).all()
    assert set(large[1]) <= set(order[:50])
    assert 0.3 < large[2].mean() < 0.7
    assert not np.array_equal(draw(order, ids, 100, 1)[2], large[2])


def test_mixing_by_hand():
    one, other = np.full((2, 1, 1, 1), 200, np.uint8), np.full((2, 1, 1, 1), 100, np.uint8)
    assert mix(one, other, np.array([0.25, 0.996])).flatten().tolist() == [125, 200]


def expected(folder, budget):
    """How many mixed inputs a budget buys: half of it, without those so nearly one sample that they are that sample."""
    images, ids = (np.array(read_array(folder / f"data/train/{name}.npy")) for name in ("images", "ids"))
    order = purchase_order("random", ids, np.zeros(len(ids), dtype=np.int64), 0)
    first, second, lam = draw(order, ids, budget, 0)
    blends = {content_id(one) for one in mix(images[first], images[second], lam)}
    return len(blends - {one.decode() for one in ids[order[:budget]]})


def test_a_budget_pays_half_as_many_mixed_inputs_and_pays_them_once(paid):
    write_params(paid, MIXED)
    ran = stage("teach", 40, cwd=paid)
    assert ran.returncode == 0, ran.stderr
    some, more = expected(paid, 40), expected(paid, 80)
    assert 15 < some <= 20 <= more - some + 5
    assert f"40 new calls and {some} for mixed inputs" in ran.stdout
    assert len(bill(paid)) == len(set(bill(paid))) == 40 + some
    spend = read_json(paid / "spend/40.json")
    assert (spend["calls"], spend["mixed_calls"], spend["new_calls"]) == (40, some, 40 + some)

    folder = paid / "outputs/40/mixed"
    images = np.array(read_array(paid / "data/train/images.npy"))
    first, second, lam = (read_array(folder / f"{name}.npy") for name in ("first", "second", "lam"))
    blended = read_array(folder / "images.npy")
    share = lam[:, None, None, None].astype(np.float64)
    assert np.abs(blended - (share * images[first] + (1 - share) * images[second])).max() <= 0.51
    assert [content_id(one) for one in blended] == [id.decode() for id in read_array(folder / "ids.npy")]
    sys.path.insert(0, str(paid))
    try:
        import paid as module

        np.testing.assert_array_equal(
            read_array(folder / "logits.npy"), module.logits(np.array(blended)).astype(np.float32)
        )
    finally:
        sys.path.remove(str(paid))

    assert "0 new calls and 0 for mixed" in stage("teach", 40, cwd=paid).stdout
    write_params(paid, {**MIXED, "study.budgets": [40, 80]})
    assert f"40 new calls and {more - some} for mixed" in stage("teach", 80, cwd=paid).stdout
    assert len(bill(paid)) == len(set(bill(paid))) == 80 + more

    assert stage("compare", 40, cwd=paid).returncode == 0
    ran = stage("train", 40, "mixkd", 0, cwd=paid)
    assert ran.returncode == 0, ran.stderr
    assert read_json(paid / "students/40-mixkd-0/meta.json")["samples"] == 20  # 20 clean and 20 mixed: 40 calls


def test_mixkd_without_mixed_inputs_is_refused_before_anything_is_paid(paid):
    write_params(paid, {**MIXED, "teach.mixed": False})
    ran = stage("teach", 40, cwd=paid)
    assert ran.returncode == 2
    assert "set teach.mixed: true" in ran.stderr
    assert bill(paid) == []
