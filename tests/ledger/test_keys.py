"""Requests and how the ledger spells them; views of samples: each is a call of its own, exports carry them, ledgers of them join."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.answers import at_cost

from tuition.errors import UserError
from tuition.ledger import accounts, calls, exports, imports, owned
from tuition.ledger.calls import Answer
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request, key_of, keyed
from tuition.ledger.merge import merge
from tuition.views import from_text
from tuition.workspace import Export

pytestmark = pytest.mark.usefixtures("new_place")  # on SQLite and on PostgreSQL

IDS = [f"{i:064x}" for i in range(20)]
SHIFTED, FLIPPED = "crop=-1,2,28,28;flip=0", "crop=0,0,28,28;flip=1"
REQUESTS = [Request(id, view) for id in IDS[:6] for view in (SHIFTED, "clean", FLIPPED)]


def open_account(ledger):
    return accounts.open_account(ledger, "ef" * 32, "t", {"kind": "test"}, None)


def buy(ledger, requests, values, cost=0.5):
    """Buy `requests` in one purchase; returns the calls."""
    id = open_account(ledger)
    run = calls.start_run(ledger, id, 1000)
    made = calls.reserve(ledger, run, requests)
    calls.mark_sent(ledger, run, made)
    at = {one: row for row, one in enumerate(requests)}
    calls.finish(
        ledger, run, made, at_cost([Answer({name: v[at[c.request]] for name, v in values.items()}) for c in made], cost)
    )
    return made


LOGITS = np.random.default_rng(0).normal(size=(18, 10)).astype(np.float32)


@pytest.fixture
def ledger(new_place):
    opened = open_ledger()
    buy(opened, REQUESTS, {"logits": LOGITS})
    yield opened
    assert accounts.verify(opened) == []
    opened.close()


# What the ledger of Tuition before `Request` stored of each, and the key that was sent.
SPELT = [
    (Request(IDS[7]), "clean", "0f55f7c473ffb9ab6c24188b2839aa55"),
    (Request(IDS[7], round=2), "again 2", "c5cd664bc0701152609d373ec01971a4"),
    (Request(IDS[7], round=13), "again 13", "b2828cb63f4124ac7a4598fdf3f87f79"),
    (Request(IDS[7], signals=("embedding",)), "clean+embedding", "efc2ed824a00502864e2dd8cbc79daf7"),
    (Request(IDS[7], signals=("at", "energy1")), "clean+at,energy1", "0a583df7d4094bd73e2b8556d9954e68"),
    (Request(IDS[7], SHIFTED), SHIFTED, "1c7c90e345d9808b4d3c1388e2cdd080"),
    (Request(IDS[7], SHIFTED, 2), f"{SHIFTED} again 2", "4359eff16f6a7d9472178435df82b2d6"),
    (Request(IDS[7], SHIFTED, 13), f"{SHIFTED} again 13", "f3929313c3a6af672c348a7c653f63b5"),
    (Request(IDS[7], SHIFTED, 0, ("embedding",)), f"{SHIFTED}+embedding", "eb955ce2a1083ddb5aa6904a8e73a892"),
    (Request(IDS[7], SHIFTED, 0, ("at", "energy1")), f"{SHIFTED}+at,energy1", "1f05dbf8ff303ca8312ff70c160bf66c"),
    (Request(IDS[7], repeat=1), "repeat 1", "6736adc7eef81177f345e59877340d31"),
    (Request(IDS[7], SHIFTED, repeat=12), f"{SHIFTED} repeat 12", "bb3c598fe9fe92db247f247222398105"),
]


@pytest.mark.parametrize(("request_", "stored", "key"), SPELT)
def test_a_request_is_spelt_as_ever_and_has_the_key_that_was_sent(request_, stored, key):
    assert request_.stored == stored
    assert request_.key == (bytes.fromhex(IDS[7]), stored)
    assert key_of("ef" * 32, request_) == key
    assert Request.of(IDS[7], stored) == request_


@given(
    st.sampled_from(IDS),
    st.sampled_from([SHIFTED, FLIPPED, "clean", "augmented"]),
    st.integers(0, 99),
    st.sets(st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True)),
    st.integers(0, 99),
)
def test_a_request_is_read_back_from_how_it_is_stored(sample, view, round, signals, repeat):
    request = Request(sample, view).again(round).further(signals).repeated(repeat)
    assert Request.of(sample, request.stored) == request
    assert request.is_of_view == (view != "augmented" and not round and not signals and not repeat)


def test_each_request_is_keyed_once_in_order():
    first, second = Request(IDS[0], signals=("a", "b")), Request(IDS[1])
    assert list(keyed([first, second, Request(IDS[0], signals=("b", "a")), first]).values()) == [first, second]


def test_one_purchase_takes_many_views_in_its_order_and_each_once(ledger):
    id = open_account(ledger)
    fresh = [Request(IDS[9], FLIPPED), Request(IDS[8]), Request(IDS[9], SHIFTED), Request(IDS[9], FLIPPED)]
    made = calls.reserve(ledger, calls.start_run(ledger, id, 9), [REQUESTS[3], *fresh, REQUESTS[0]])
    assert [call.request for call in made] == fresh[:3]
    mark = accounts.find(ledger, None).fingerprint
    assert [call.key for call in made] == [key_of(mark, call.request) for call in made]
    some = [*REQUESTS, *fresh, Request(IDS[0], "crop=1,1,28,28;flip=0")]
    states = owned.standing(ledger, id, some).states(some)
    assert states == {**dict.fromkeys(REQUESTS, "owned"), **dict.fromkeys(fresh, "reserved")}


def test_views_are_read_apart_from_one_another(ledger):
    id = open_account(ledger)
    places, signals, costs = owned.read(ledger, id, REQUESTS[::-1])
    assert places.tolist() == list(range(18))
    np.testing.assert_array_equal(signals["logits"], LOGITS[::-1])
    assert costs.tolist() == [500_000] * 18
    for view, rows in ((SHIFTED, LOGITS[::3]), ("clean", LOGITS[1::3])):
        some = [Request(one, view) for one in IDS[:6]]
        np.testing.assert_array_equal(owned.read(ledger, id, some)[1]["logits"], rows)
        assert owned.standing(ledger, id, some).cost(some) == 3.0
    assert owned.standing(ledger, id, REQUESTS).cost(REQUESTS[:2]) == 1.0
    assert accounts.status(ledger)[0]["samples"] == 6


def test_further_signals_of_views_belong_to_their_view(ledger):
    id = open_account(ledger)
    energy = np.arange(12, dtype=np.float32).reshape(4, 3)
    some = [REQUESTS[0], REQUESTS[1], REQUESTS[2], REQUESTS[5]]
    further = [request.further(["energy1"]) for request in some]
    buy(ledger, further, {"energy1": energy}, cost=0.25)
    both = {"logits", "energy1"}
    standing = owned.standing(ledger, id, [*REQUESTS, *further])
    assert {one: standing.signals(one) for one in REQUESTS[:4]} == dict.fromkeys(some[:3], both) | {
        REQUESTS[3]: {"logits"}
    }
    places, signals, costs = owned.read(ledger, id, REQUESTS, signals=both)
    assert places.tolist() == [0, 1, 2, 5]
    np.testing.assert_array_equal(signals["energy1"], energy)
    assert costs.tolist() == [750_000] * 4
    assert standing.states(one.further(["energy1"]) for one in REQUESTS) == dict.fromkeys(further, "owned")
    assert standing.further_calls(REQUESTS) == 4
    assert standing.further_calls(REQUESTS[3:5]) == 0
    assert standing.cost(some) == 3.0


def test_an_export_of_views_gives_their_ownership_to_a_new_ledger(ledger, tmp_path, new_place):
    assert exports.export(ledger, tmp_path / "out", None) == (18, {})
    expected = [from_text(one.view).tolist() for one in REQUESTS]
    assert np.load(tmp_path / "out/views.npy").tolist() == expected
    new = open_ledger(new_place())
    assert imports.import_folder(new, tmp_path / "out") == (18, 0)
    assert imports.import_folder(new, tmp_path / "out") == (0, 18)
    id = open_account(new)
    np.testing.assert_array_equal(owned.read(new, id, REQUESTS)[1]["logits"], LOGITS)
    assert calls.reserve(new, calls.start_run(new, id, 99), REQUESTS) == []
    assert accounts.verify(new) == []
    assert accounts.status(new)[0]["cost"] == 9.0
    new.close()


def test_an_export_of_clean_samples_is_as_it_was(tmp_path, new_place):
    ledger = open_ledger()
    clean = [Request(one) for one in IDS[:4]]
    buy(ledger, clean, {"logits": LOGITS[:4]})
    buy(ledger, [one.again(2) for one in clean[:2]], {"logits": LOGITS[4:6]})  # asked again: no view of a sample
    assert exports.export(ledger, tmp_path / "out", None) == (4, {})
    assert not (tmp_path / "out/views.npy").exists()
    assert np.load(tmp_path / "out/ids.npy").tolist() == [one.encode() for one in IDS[:4]]
    ledger.close()


def test_further_answers_to_the_same_are_exported_beside_the_first_and_owned_elsewhere(tmp_path, new_place):
    ledger, new, joined = open_ledger(), open_ledger(new_place()), open_ledger(new_place())
    first = [Request(one) for one in IDS[:4]]
    asked = [*first, *(one.repeated(number) for number in (1, 2) for one in first[:3])]
    buy(ledger, asked, {"logits": LOGITS[:10]})
    assert exports.export(ledger, tmp_path / "out", None) == (4, {})
    folders = [tmp_path / "out", *(one.path for one in Export(tmp_path / "out").repeats())]
    assert [imports.import_folder(new, folder) for folder in folders] == [(4, 0), (3, 0), (3, 0)]
    assert merge(joined, ledger)["taken"] == 10
    for one in (new, joined):
        np.testing.assert_array_equal(owned.read(one, open_account(one), asked)[1]["logits"], LOGITS[:10])
        assert accounts.status(one)[0]["samples"] == 4
        assert accounts.verify(one) == []
    for one in (ledger, new, joined):
        one.close()


ABOUT = {"name": "t", "fingerprint": "ef" * 32, "description": {"kind": "test"}}


def test_what_is_made_of_several_answers_is_no_answer(tmp_path, new_place):
    ledger = open_ledger()
    exports.write(tmp_path, [Request(IDS[0])], {"logits": LOGITS[:1]}, np.array([0]), ABOUT, samples=3)
    with pytest.raises(
        UserError, match=r"its rows are made of 3 answers each; the answers themselves are below .*repeats"
    ):
        imports.import_folder(ledger, tmp_path)
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
    more = [*REQUESTS[9:], *(Request(IDS[7], view) for view in (FLIPPED, SHIFTED))]
    values = np.concatenate([LOGITS[9:], LOGITS[:2]])
    buy(other, more, {"logits": values})
    buy(other, [more[-1].further(["energy1"])], {"energy1": values[:1]}, cost=0)
    assert merge(ledger, other) == {"taken": 2, "held": 9, "spent": 0, "damaged": 0}
    assert merge(ledger, other) == {"taken": 0, "held": 11, "spent": 0, "damaged": 0}
    id = open_account(ledger)
    np.testing.assert_array_equal(owned.read(ledger, id, more, signals=["logits"])[1]["logits"], values)
    np.testing.assert_array_equal(owned.read(ledger, id, more[-1:])[1]["energy1"], values[:1])
    assert accounts.status(ledger)[0]["cost"] == 10.0
    other.close()
