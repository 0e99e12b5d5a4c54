"""Looking at all that a budget owns of a teacher, and writing down what every check found."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from tuition.files import write_json
from tuition.ledger import identities
from tuition.ledger.keys import Request
from tuition.purchase.account import Account
from tuition.purchase.plausible import bill, identity, repeats
from tuition.purchase.plausible.checks import error, run
from tuition.purchase.plausible.evidence import Finding
from tuition.purchase.plausible.watch import evidence_in
from tuition.workspace import Export


def look(
    account: Account, requests: Sequence[Request], signals: dict[str, np.ndarray]
) -> tuple[list[Finding], repeats.Measured | None]:
    """What the checks find in the answers {signal: (n, …)} to these requests, in the data's order of classes; and how far answers to the
    same differ, where some were asked for several times."""
    settings = account.settings
    rows = [row for row, one in enumerate(requests) if not one.round]
    first = {name: values[rows] for name, values in signals.items()}
    evidence = evidence_in(account, [requests[row].sample for row in rows], first)
    measured = repeats.measure(requests, signals)
    answered_by = dict(identities.of_owned(account.ledger, account.id))
    with account.ledger.read() as db:
        unlisted = identities.unlisted(db, account.id)
    found = [
        _classes(account),
        *run(evidence, settings.unchecked),
        repeats.check(measured),
        identity.check(answered_by),
        bill.check(*unlisted),
    ]
    findings = [
        Finding(one.name, "unchecked", "named in teacher.unchecked") if one.name in settings.unchecked else one
        for one in found
    ]
    return findings, measured


def write(folder: Export, account: Account, findings: list[Finding], measured: repeats.Measured | None) -> None:
    """Write `plausible.json` of an export. Raises UserError where a check failed: nothing is to be learned from such answers."""
    write_json(
        folder.plausible,
        {"checks": [one.as_json() for one in findings], "repeats": None if measured is None else asdict(measured)},
    )
    stop = error(
        account.settings.name, findings, f"The answers are in the ledger; what was found is in {folder.plausible}."
    )
    if stop:
        raise stop


def _classes(account: Account) -> Finding:
    names = account.known.classes
    if not names:
        return Finding("classes", "skipped", "the data names no classes")
    found = f"{len(names)} classes, those under which answers are owned"
    if account.order is not None:
        found += "; they are owned in another order and were put into the data's"
    return Finding("classes", "passed", found)
