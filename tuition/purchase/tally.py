"""What came of the calls of a purchase so far, and when that is reason to stop."""

from collections.abc import Callable, Sequence

from tuition.errors import UserError
from tuition.ledger.calls import Answer, Call
from tuition.origins import name
from tuition.params.teacher import TeacherSettings

FEW = 3  # lost requests that never stop a purchase


class Tally:
    """The counts of one purchase, for its progress line; `stopped` is why nothing more is sent, where that is so.

    `sent` calls, `new` ones among them, `bad` ones whose answer cannot be used, `lost` ones that brought none; `tokens` and `cost`
    (millionths) of the answers; `left`: calls still to be made; `row_bytes`: of one call's outputs, a guess until the first answer says.
    """

    def __init__(self, settings: TeacherSettings, number: int):
        self.settings, self.number = settings, number
        self.sent = self.new = self.bad = self.lost = self.tokens = self.cost = 0
        self.lost_requests = 0
        self.left = number
        self.row_bytes = 1 << 16
        self.stopped: BaseException | None = None

    @property
    def canary(self) -> int:
        """How many of the first few calls, which must all be good before the bulk is sent, are still to be sent."""
        return max(0, self.settings.canary - self.sent)

    @property
    def together(self) -> int:
        """How many of the canary's calls are sent next: the first one goes alone, but to a network of ours."""
        return min(1, self.canary) if not (self.sent or self.settings.free_of_charge) else self.canary

    def stop(self, error: BaseException) -> None:
        """Nothing more is sent. The first reason stands."""
        self.stopped = self.stopped or error

    def measure(self, answers: Sequence[Answer]) -> None:
        """Take down what answers came to, and how large they are."""
        self.row_bytes = max(sum(v.nbytes for v in a.signals.values()) for a in answers) or self.row_bytes
        self.tokens += sum(answer.tokens or 0 for answer in answers)
        self.cost += sum(answer.cost or 0 for answer in answers)

    def count(self, made: Sequence[Call], bad: int, fault: str | None, first_bad: int = 0) -> None:
        """Count sent calls, `bad` of them without an answer that can be used, for instance that at `first_bad` because of `fault`.

        Stops the purchase where one of the canary's is bad, or more than `teacher.max_malformed` of all.
        """
        first = self.canary > 0
        self._sent(made)
        self.bad += bad
        if not self.stopped and bad and (first or self.bad > max(1, self.settings.max_malformed * self.number)):
            self.stop(
                UserError(
                    f"teacher {self.settings.name!r}: {self.bad} of {self.sent} answers cannot be used "
                    f"({name(made[first_bad].request.sample)}: {fault}). They count as spent; "
                    "what came is kept in the ledger (`tuition ledger calls --malformed`). No more calls are sent"
                )
            )

    def lose(self, made: Sequence[Call], why: str) -> None:
        """Count the calls of a request that brought no answer, for instance because of `why`.

        One that is lost now and then is no reason to stop, in the canary neither: stops where they are more than `teacher.max_unknown`
        of all, and of more than a few requests.
        """
        self._sent(made)
        self.lost += len(made)
        self.lost_requests += 1
        if not self.stopped and self.lost_requests > FEW and self.lost > self.settings.max_unknown * self.number:
            self.stop(
                UserError(
                    f"teacher {self.settings.name!r}: {self.lost} of {self.sent} calls brought no answer "
                    f"({name(made[0].request.sample)}: {why}), which is more than teacher.max_unknown ({self.settings.max_unknown:g}) of "
                    f"{self.number}. Whether they were charged is not known, so they count as spent (`tuition ledger unknown`). No more "
                    "calls are sent"
                )
            )

    def _sent(self, made: Sequence[Call]) -> None:
        self.sent += len(made)
        self.new += sum(not call.again for call in made)
        self.left = max(0, self.left - len(made))


Progress = Callable[[Tally], None]  # told after each answer
