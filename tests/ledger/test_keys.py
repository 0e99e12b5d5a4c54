"""Views of samples in the ledger: each ask is a call of its own, exports carry them, and two ledgers join without counting one twice."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuition.errors import UserError
from tuition.ledger import accounts, calls, exports, imports, owned
from tuition.ledger import keys as asks
from tuition.ledger.calls import Answer
from tuition.ledger.database import open_ledger
from tuition.ledger.merge import merge
from tuition.views import from_text

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(20)]
SHIFTED, FLIPPED = "crop=-1,2,28,28;flip=0", "crop=0,0,28,28;flip=1"
ASKS = [asks.ask(id, view) for id in IDS[:6] for view in (SHIFTED, "clean", FLIPPED)]


def open_account(ledger):
    return accounts.open_account(ledger, "ef" * 32, "t", {"kind": "test"}, None)


def buy(ledger, wanted, values, view="clean", cost=0.5):
    """Buy `wanted` in one purchase; returns the calls."""
    id = open_account(ledger)
    made = calls.reserve(ledger, calls.start_run(ledger, id, 1000), wanted, view=view)
    with ledger.read() as db:
        run = db.exec_driver_sql("SELECT MAX(id) FROM runs").scalar()
    calls.mark_sent(ledger, run, made)
    at = {one: row for row, one in enumerate(wanted)}
    calls.finish(ledger, run, made, [Answer({name: v[at[c.sample]] for name, v in values.items()}) for c in made], cost)
    return made


LOGITS = np.random.default_rng(0).normal(size=(18, 10)).astype(np.float32)


@pytest.fixture
def ledger(new_place):
    opened = open_ledger()
    buy(opened, ASKS, {"logits": LOGITS})
    yield opened
    assert accounts.verify(opened) == []
    opened.close()


@given(st.sampled_from(IDS), st.sampled_from([SHIFTED, FLIPPED, "clean", "again 2"]))
def test_an_ask_says_sample_and_view(sample, view):
    assert asks.split(asks.ask(sample, view)) == (sample, view)
    assert asks.ask(sample, "clean") == sample


def test_a_view_beside_an_ask_speaks_of_its_own_view():
    shifted = f"{IDS[1]} {SHIFTED}"
    found = asks.keyed([IDS[0], shifted], "clean+embedding")
    assert list(found) == [
        (bytes.fromhex(IDS[0]), "clean+embedding"),
        (bytes.fromhex(IDS[1]), f"{SHIFTED}+embedding"),
    ]
    assert [view for _, view in asks.keyed([IDS[0], shifted], "again 2")] == ["again 2", f"{SHIFTED} again 2"]
    assert list(asks.keyed([f"{IDS[0]} clean", IDS[0]]).values()) == [f"{IDS[0]} clean"]


def test_one_purchase_takes_many_views_in_its_order_and_each_once(ledger):
    id = open_account(ledger)
    fresh = [asks.ask(IDS[9], FLIPPED), IDS[8], asks.ask(IDS[9], SHIFTED), asks.ask(IDS[9], FLIPPED)]
    made = calls.reserve(ledger, calls.start_run(ledger, id, 9), [ASKS[3], *fresh, ASKS[0]])
    assert [call.sample for call in made] == fresh[:3]
    mark = accounts.find(ledger, None).fingerprint
    assert [call.key for call in made] == [asks.key_of(mark, *asks.split(call.sample)) for call in made]
    states = owned.states(ledger, id, [*ASKS, *fresh, asks.ask(IDS[0], "crop=1,1,28,28;flip=0")])
    assert states == {**dict.fromkeys(ASKS, "owned"), **dict.fromkeys(fresh, "reserved")}


def test_views_are_read_apart_from_one_another(ledger):
    id = open_account(ledger)
    places, signals, costs = owned.read(ledger, id, ASKS[::-1])
    assert places.tolist() == list(range(18))
    np.testing.assert_array_equal(signals["logits"], LOGITS[::-1])
    assert costs.tolist() == [500_000] * 18
    for view, rows in ((SHIFTED, LOGITS[::3]), ("clean", LOGITS[1::3])):
        some = [asks.ask(one, view) for one in IDS[:6]]
        np.testing.assert_array_equal(owned.read(ledger, id, some)[1]["logits"], rows)
        assert owned.cost(ledger, id, some) == 3.0
    assert owned.cost(ledger, id, ASKS[:2]) == 1.0
    assert accounts.status(ledger)[0]["samples"] == 6


def test_further_signals_of_views_belong_to_their_view(ledger):
    id = open_account(ledger)
    energy = np.arange(12, dtype=np.float32).reshape(4, 3)
    some, view = [ASKS[0], ASKS[1], ASKS[2], ASKS[5]], owned.further("clean", ["energy1"])
    buy(ledger, some, {"energy1": energy}, view=view, cost=0.25)
    both = {"logits", "energy1"}
    assert owned.signals(ledger, id, ASKS[:4]) == dict.fromkeys(some[:3], both) | {ASKS[3]: {"logits"}}
    places, signals, costs = owned.read(ledger, id, ASKS, signals=both)
    assert places.tolist() == [0, 1, 2, 5]
    np.testing.assert_array_equal(signals["energy1"], energy)
    assert costs.tolist() == [750_000] * 4
    assert owned.states(ledger, id, ASKS, view) == dict.fromkeys(some, "owned")
    assert owned.further_calls(ledger, id, ASKS) == 4
    assert owned.further_calls(ledger, id, ASKS[3:5]) == 0


def test_an_export_of_views_gives_their_ownership_to_a_new_ledger(ledger, tmp_path, new_place):
    assert exports.export(ledger, tmp_path / "out", None) == (18, {})
    expected = [from_text(asks.split(one)[1]).tolist() for one in ASKS]
    assert np.load(tmp_path / "out/views.npy").tolist() == expected
    new = open_ledger(new_place())
    assert imports.import_folder(new, tmp_path / "out") == (18, 0)
    assert imports.import_folder(new, tmp_path / "out") == (0, 18)
    id = open_account(new)
    np.testing.assert_array_equal(owned.read(new, id, ASKS)[1]["logits"], LOGITS)
    assert calls.reserve(new, calls.start_run(new, id, 99), ASKS) == []
    assert accounts.verify(new) == []
    assert accounts.status(new)[0]["cost"] == 9.0
    new.close()


def test_an_export_of_clean_samples_is_as_it_was(tmp_path, new_place):
    ledger = open_ledger()
    buy(ledger, IDS[:4], {"logits": LOGITS[:4]})
    buy(ledger, IDS[:2], {"logits": LOGITS[4:6]}, view="again 2")  # asked again: no view of a sample
    assert exports.export(ledger, tmp_path / "out", None) == (4, {})
    assert not (tmp_path / "out/views.npy").exists()
    assert np.load(tmp_path / "out/ids.npy").tolist() == [one.encode() for one in IDS[:4]]
    ledger.close()


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda views: views[:3], r"views\.npy: found int32 with shape \(3, 5\), expected integers \(18, 5\)"),
        (lambda views: views.astype(float), r"views\.npy: found float64"),
        (lambda views: views * [1, 1, -1, 1, 1], r"views\.npy: view: found 'crop=-1,2,-28,28;flip=0'"),
        (lambda views: views * 0, "the same id stands there twice"),
        (lambda views: None, r"views\.npy: no such file"),
    ],
)
def test_an_export_whose_views_do_not_fit_is_named_and_nothing_taken(ledger, tmp_path, new_place, damage, match):
    exports.export(ledger, tmp_path / "out", None)
    path = tmp_path / "out/views.npy"
    damaged = damage(np.load(path))
    path.unlink() if damaged is None else np.save(path, damaged)
    new = open_ledger(new_place())
    with pytest.raises(UserError, match=match):
        imports.import_folder(new, tmp_path / "out")
    assert accounts.status(new) == []
    new.close()


def test_ledgers_of_views_join_and_what_both_have_counts_once(ledger, new_place):
    other = open_ledger(new_place())
    more = [*ASKS[9:], *(asks.ask(IDS[7], view) for view in (FLIPPED, SHIFTED))]
    values = np.concatenate([LOGITS[9:], LOGITS[:2]])
    buy(other, more, {"logits": values})
    buy(other, more[-1:], {"energy1": values[:1]}, view=owned.further("clean", ["energy1"]), cost=0)
    assert merge(ledger, other) == {"taken": 2, "held": 9, "spent": 0, "damaged": 0}
    assert merge(ledger, other) == {"taken": 0, "held": 11, "spent": 0, "damaged": 0}
    id = open_account(ledger)
    np.testing.assert_array_equal(owned.read(ledger, id, more, signals=["logits"])[1]["logits"], values)
    np.testing.assert_array_equal(owned.read(ledger, id, more[-1:])[1]["energy1"], values[:1])
    assert accounts.status(ledger)[0]["cost"] == 10.0
    other.close()
