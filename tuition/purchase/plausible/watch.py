"""Watching a purchase: answers are held against what is known before the bulk is sent, and at growing numbers from then on."""

from collections.abc import Sequence

import numpy as np

from tuition.errors import UserError
from tuition.ledger import identities, owned
from tuition.ledger.calls import Answer
from tuition.ledger.keys import Request
from tuition.purchase.account import Account
from tuition.purchase.plausible import identity
from tuition.purchase.plausible.checks import error, run
from tuition.purchase.plausible.evidence import Evidence, evidence_of

MOST = 1024  # answers that are looked at; the export looks at all
HELD = 256  # answers after which the bulk is sent, however much is undecided


class Watch:
    """Looks at the first answers of a purchase, those that were owned before among them: after `teacher.canary` of them, and after each
    doubling. `undecided`: labels leave doubt whether the teacher is right."""

    def __init__(self, account: Account, before: Sequence[Request] = ()):
        self.account = account
        self.samples: list[str] = []
        self.arrays: dict[str, list[np.ndarray]] = {}
        self.undecided = False
        self.sent = 0  # calls of this purchase
        self.next = max(1, account.settings.canary)
        self.named = dict(identities.of_owned(account.ledger, account.id))  # how many answers name which model
        if before:
            self._own(before[:MOST])

    def stops(self) -> UserError | None:
        """Why nothing is to be sent at all, of what was owned before."""
        return self._identify() or (self._look() if self.samples else None)

    def see(self, requests: Sequence[Request], answers: Sequence[Answer]) -> UserError | None:
        """Take answers to requests (in the account's order of classes); why nothing more is to be sent, where that is so."""
        self.sent += len(answers)
        if stop := self._count(answers):
            return stop
        if len(self.samples) >= MOST:
            return None
        for request, answer in zip(requests, answers, strict=True):
            if answer.usable and not request.round:
                self._add(request, answer.signals)
        if len(self.samples) < self.next:
            return None
        return self._look()

    def holds(self) -> int:
        """How many more calls are sent before the bulk; 0 where nothing is in doubt. Nothing waits for a network of ours."""
        if not self.undecided or self.account.settings.free_of_charge:
            return 0
        return max(0, min(self.next, HELD) - len(self.samples))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of an owned answer's signals: further answers are exported with it."""
        return {name: np.asarray(values[0]).shape for name, values in self.arrays.items() if len(values)}

    def _own(self, requests: Sequence[Request]) -> None:
        places, arrays, _ = owned.read(self.account.ledger, self.account.id, requests, self.account.teacher.signals)
        self.samples = [requests[place].sample for place in places]
        self.arrays = {name: list(values) for name, values in arrays.items()}

    def _add(self, request: Request, signals: dict[str, np.ndarray]) -> None:
        if self.arrays and set(signals) != set(self.arrays):
            return  # further signals of samples that are owned
        self.samples.append(request.sample)
        for name, values in signals.items():
            self.arrays.setdefault(name, []).append(values)

    def _count(self, answers: Sequence[Answer]) -> UserError | None:
        """Count whom answers name; why nothing more is to be sent, where one names somebody new."""
        before = len(self.named)
        for one in answers:
            if one.usable and one.identity:
                self.named[one.identity] = self.named.get(one.identity, 0) + 1
        return self._identify() if len(self.named) > before else None

    def _identify(self) -> UserError | None:
        settings = self.account.settings
        if identity.NAME in settings.unchecked:
            return None
        return error(settings.name, [identity.check(self.named)], self._then())

    def _then(self) -> str:
        """What becomes of the calls."""
        sent = f"{self.sent} calls were sent and charged" if self.sent else "No call was sent"
        return f"{sent}; what came is in the ledger. No more calls are sent."

    def _look(self) -> UserError | None:
        while self.next <= len(self.samples):
            self.next *= 2
        settings = self.account.settings
        findings = run(self._evidence(), settings.unchecked)
        self.undecided = any(one.undecided for one in findings if one.name == "labels")
        return error(settings.name, findings, self._then())

    def _evidence(self) -> Evidence:
        signals = self.account.as_data({name: np.stack(values) for name, values in self.arrays.items()})
        return evidence_in(self.account, self.samples, signals)


def evidence_in(account: Account, samples: Sequence[str], signals: dict[str, np.ndarray]) -> Evidence:
    """The evidence of answers in the data's order of classes."""
    names = account.known.classes or tuple(map(str, range(account.classes)))
    return evidence_of(samples, signals, names, account.known.labels, account.settings.promised_scores)
