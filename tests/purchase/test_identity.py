"""Who answers, at which address, and what its totals hide: kept with the calls; another model than the first stops the purchase."""

import json
from dataclasses import replace

import pytest
from support import loopback as lo
from support.loopback import Server
from support.plain import Plain
from support.purchases import Shop

from tuition.errors import UserError
from tuition.identity import Identity, identity
from tuition.ledger import accounts, owned
from tuition.ledger.database import open_ledger
from tuition.ledger.merge import merge
from tuition.purchase.plausible import export
from tuition.purchase.plausible.identity import check


class Named(Plain):
    """As Plain; an answer names its model, and what only its total counts."""

    def read(self, body, headers, keys):
        answer, reply = json.loads(body), super().read(body, headers, keys)
        who = identity(answer.get("model"), answer.get("version"), answer.get("backend"))
        return replace(reply, identity=who, unlisted_tokens=answer.get("unlisted", 0))


def named(**said):
    """Answer well, and say this besides."""

    async def behave(server, request, writer) -> None:
        writer.write(lo.whole(json.dumps(json.loads(lo.answer_of(server, request)) | said).encode()))

    return behave


@pytest.fixture
def server():
    with Server() as one:
        yield one


def shop_of(server, **more) -> Shop:
    return Shop(server, 12, format=Named(), max_in_flight=1, **more)


def test_another_model_than_the_first_stops_now_and_before_the_next_call(server):
    server.script.extend([named(model="a", version=1)] * 5 + [named(model="b", version=1)] * 100)
    with pytest.raises(
        UserError, match=r"identity: the first answers name model 'a', version '1'; .* name 1 model 'b'"
    ) as stopped:
        shop_of(server).buy()
    assert "6 calls were sent and charged" in str(stopped.value)
    assert "another teacher.version" in str(stopped.value)
    with pytest.raises(UserError, match="No call was sent"):
        shop_of(server).buy()
    assert len(server.processed) == 6
    shop = shop_of(server, unchecked=["identity"])
    assert shop.buy() == 6
    assert shop.owned() == shop.requests
    assert [(one["model"], one["calls"]) for one in shop.status["answered_by"]] == [("a", 5), ("b", 7)]
    shop.check()


def test_backends_and_tokens_that_only_a_total_counts_are_told_and_stop_nothing(server):
    server.script.extend([named(model="a", backend=f"fp_{one % 2}", unlisted=3) for one in range(12)])
    shop = shop_of(server)
    assert shop.buy() == 12
    _, signals, _ = owned.read(shop.ledger, shop.account.id, shop.requests)
    found = {one.name: one for one in export.look(shop.account, shop.requests, signals)[0]}
    assert found["identity"].state == "passed"
    assert "2 backends" in found["identity"].found
    assert found["bill"].state == "noted"
    assert "of 12 calls" in found["bill"].found
    assert "36 tokens" in found["bill"].found
    assert {one["backend"] for one in accounts.listed(shop.ledger, shop.account.id)} == {"fp_0", "fp_1"}


def test_what_two_ledgers_know_of_who_answered_is_joined(server, new_place):
    server.script.extend([named(model="a", unlisted=3)] * 12)
    shop = shop_of(server)
    shop.buy()
    other = open_ledger(new_place())
    merge(other, shop.ledger)
    (there,) = accounts.status(other)
    assert (
        there["answered_by"]
        == shop.status["answered_by"]
        == [{"model": "a", "version": "", "backend": "", "calls": 12}]
    )
    assert there["unlisted_tokens"] == 36
    other.close()


@pytest.mark.parametrize(
    ("found", "state"),
    [
        ({}, "skipped"),
        ({Identity(backend="x"): 3}, "skipped"),
        ({Identity("a", "1"): 3, Identity("a"): 1, Identity(version="1"): 2}, "passed"),
        ({Identity("a"): 3, Identity("a", "1"): 1, Identity("a", "2"): 1}, "failed"),
        ({Identity("a", backend="x"): 3, Identity("b", backend="x"): 1}, "failed"),
    ],
)
def test_only_models_and_versions_that_differ_are_other_ones(found, state):
    assert check(found).state == state


def test_a_server_may_name_anything():
    assert identity({"a": 1}, True, None) == Identity()
    assert identity("a\x00\n" + "b" * 500, 3) == Identity("a" + "b" * 197, "3")


def test_another_address_is_told_and_refused_nothing(server, capsys):
    assert Shop(server, 4).buy() == 4
    with Server() as elsewhere:
        shop = Shop(elsewhere, 8)
        assert (
            f"4 answers are owned that came from {server.url}; it is asked at {elsewhere.url} now"
            in capsys.readouterr().out
        )
        assert shop.buy() == 4
        Shop(elsewhere, 8)
        assert "are owned that came from" not in capsys.readouterr().out
