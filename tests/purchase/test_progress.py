"""The progress line: what it says, on a terminal and elsewhere, and that no name in it can break the purchase."""

import pytest
from support.loopback import Server
from support.purchases import Shop

from tuition.ledger.spending import Bound
from tuition.purchase import progress
from tuition.purchase.tally import Tally


@pytest.fixture
def server():
    with Server() as one:
        yield one


def test_what_is_spent_and_left(server):
    tally = Tally(Shop(server, 1).settings, 10)
    assert progress.bill(tally, Bound(), 0, 0) == ""
    tally.cost, tally.tokens, tally.bad = 3_200_000, 70, 2
    assert progress.bill(tally, Bound(), 5, 5) == "3.2 spent; 70 tokens; 2 not usable"
    life = Bound(tokens=100, cost=10_000_000)
    assert progress.bill(tally, life, 10, 500_000) == "3.2 spent, 6.3 left; 70 tokens, 20 left; 2 not usable"


def test_lines_where_there_is_no_terminal(server, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", -1)
    shop = Shop(server, 12, max_in_flight=1, price=0.5, cap={"money": 100.0})
    shop.buy()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 11
    assert said[3].startswith("test: 4 of 12, ")
    assert said[3].endswith(" s left; 2 spent, 98 left; 28 tokens")


@pytest.mark.parametrize("title", ["teach 40", "teach {40}", "teach [bold]40[/nothing]"])
def test_a_terminal_and_names_with_braces_and_brackets(server, monkeypatch, capsys, title):
    monkeypatch.setenv("FORCE_COLOR", "1")
    shop = Shop(server, 5, price=0.5)
    with progress.bar(title, shop.account) as told:
        tally = Tally(shop.settings, 5)
        tally.sent, tally.left, tally.cost = 2, 3, 1_000_000
        told(tally)
    said = capsys.readouterr().err
    assert title in said
    assert "2/5" in said
    assert "1 spent" in said
