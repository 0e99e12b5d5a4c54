"""How often one run of the stage asks the ledger how its requests stand: once before it buys, and once after."""

import sys

import pytest
from support import PAID, bill, write_params

from stages.teach.__main__ import main
from tuition.ledger import owned

VIEWS = {**PAID, "teach.views": 2}
MIXED = {**PAID, "teach.mixed": True, "study.methods": ["kd", "mixkd"], "methods": {"kd": {}, "mixkd": {}}}
RECHECK = {**PAID, "teacher.recheck": {"every": 20, "samples": 3, "tolerance": 0.01}}


@pytest.fixture
def readings(monkeypatch):
    """The numbers of requests of which the standing was read."""
    numbers, read = [], owned.standing

    def counted(ledger, teacher_id, requests):
        numbers.append(len(requests))
        return read(ledger, teacher_id, requests)

    monkeypatch.setattr(owned, "standing", counted)
    yield numbers
    for name in ("paid", "helper"):  # the next workspace has others
        sys.modules.pop(name, None)


@pytest.mark.parametrize("params", [PAID, VIEWS, MIXED, RECHECK], ids=["plain", "views", "mixed", "recheck"])
def test_once_before_and_once_after(paid, readings, params):
    write_params(paid, {**params, "study.budgets": [40]})
    main(["40"])
    bought = len(bill(paid))
    assert bought >= 40
    assert readings == [bought, bought]
    main(["40"])  # everything is owned
    assert readings == [bought] * 4
    assert len(bill(paid)) == bought


def test_of_each_teacher(paid, readings):
    (paid / "helper.py").write_text((paid / "paid.py").read_text().replace('"bill.txt"', '"helper.txt"'))
    helper = {"kind": "python", "name": "helper", "function": "helper:answer", "price": 0.002}
    write_params(paid, {**PAID, "study.budgets": [40], "teachers": [helper]})
    main(["40"])
    assert readings == [40] * 4
