"""Answers of no use, and formats that return nonsense: charged, kept to be looked at, and no other answer is lost with them."""

import numpy as np
import pytest
from support import loopback as lo
from support.loopback import Server, says
from support.plain import Plain
from support.purchases import Shop

from tuition.errors import UserError
from tuition.ledger import accounts
from tuition.teachers import Reply

NAN = b'{"scores": [[NaN, 1, 1, 1, 1, 1, 1, 1, 1, 1]], "tokens": 7}'


@pytest.fixture
def server():
    with Server() as one:
        yield one


def test_malformed_is_charged_kept_and_never_asked_again(server):
    server.script.extend([lo.well] * 10 + [says(NAN), says(b'{"scores": [[1, 2]], "tokens": 3}'), says(b"[1, 2")])
    shop = Shop(server, 200, price=1.0)
    assert shop.buy() == 200
    assert len(shop.owned()) == 197
    assert shop.status["cost"] == 200.0
    kept = accounts.listed(shop.ledger, shop.account.id, usable=False)
    reasons = sorted(accounts.rejected_answer(shop.ledger, one["id"])[0] for one in kept)
    assert [reason[:12] for reason in reasons] == ["NaN or infin", "logits: foun", "not JSON (JS"]
    raw = {accounts.rejected_answer(shop.ledger, one["id"])[1] for one in kept}
    assert b"[1, 2" in raw
    shop.check()
    assert shop.buy() == 0
    assert len(server.received) == 200


def test_what_cannot_be_stored_takes_no_other_answer_with_it(server):
    """A reason that no database's text can hold, from a format of the user's own, among answers that are committed together."""

    class Own(Plain):
        def read(self, body, headers, keys):
            if b"\\ud800" in body:
                return Reply(malformed="said \ud800", raw=body)
            return super().read(body, headers, keys)

    server.script.extend([lo.well] * 10 + [says(b'"\\ud800"')] * 2)
    shop = Shop(server, 100, max_in_flight=16, format=Own())
    assert shop.buy() == 100
    assert len(shop.owned()) == 98
    assert shop.calls == {"done": 100}
    shop.check()


STRANGE = [
    Reply({"logits": np.ones((1, 10), np.float32)}, output_tokens=-1_000_000),
    Reply({"logits": np.ones((1, 10), np.float32)}, output_tokens=10**30),
    Reply({"logits": np.ones((1, 10), np.float32)}, output_tokens=float("nan")),
    Reply({"logits": np.ones((1, 10), np.float32)}, output_tokens=True),
]


@pytest.mark.parametrize("strange", STRANGE, ids=lambda one: str(one.output_tokens))
def test_tokens_that_are_no_number_are_as_if_nothing_was_said(server, strange):
    class Own(Plain):
        def read(self, body, headers, keys):
            return strange if b"strange" in body else super().read(body, headers, keys)

    server.script.extend([lo.well] * 8 + [says(b"strange")])
    shop = Shop(server, 20, format=Own(), price={"output": 100.0}, max_tokens_per_call=50)
    assert shop.buy() == 20
    assert shop.spent() == (20, 19 * 7 + 50, 19 * 700 + 5000)
    shop.check()


@pytest.mark.parametrize(
    ("strange", "state"),
    [
        (Reply(None), "unusable"),
        (Reply(malformed="why", raw="text"), "unusable"),
        (Reply(malformed=["why"], raw=b""), "unusable"),
        (Reply({"logits": [[object()] * 10]}), "unusable"),
    ],
)
def test_a_format_that_returns_nonsense_loses_no_other_answer(server, strange, state):
    class Own(Plain):
        def read(self, body, headers, keys):
            return strange if b"strange" in body else super().read(body, headers, keys)

    server.script.extend([lo.well] * 8 + [says(b"strange")])
    shop = Shop(server, 40, max_in_flight=16, format=Own(), max_malformed=0.2)
    shop.buy()
    assert len(shop.owned()) == 39
    assert sorted(set(shop.states().values())) == ["owned", state]
    shop.check()


class Refuses:
    """No array, and its words are half a character."""

    def __array__(self, *args, **options):
        raise ValueError("no \ud800")


@pytest.mark.parametrize("state", ["unknown", "done"])
def test_words_of_a_function_that_no_database_takes(server, state):
    def answer(images):
        if state == "unknown":
            raise RuntimeError("said \ud800")
        return Refuses()

    shop = Shop(server, 20)
    shop.asks(answer)
    with pytest.raises(UserError):
        shop.buy()
    assert shop.calls == {state: 1}
    shop.check()
