"""How often a teacher is asked for the same sample: `teacher.samples` times, or the first sample once more.

Each answer is a call with a key of its own (`Request.repeat`), so more answers to what is owned cost only those that are lacking, and
a second answer that the canary asked for is the second one of `teacher.samples: 2`.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tuition.ledger.keys import Request
from tuition.params.teacher import TableSettings, TeacherSettings

AFFORDABLE = 100  # calls of a budget, of which one may tell how far the teacher repeats itself
CHECK = "repeats"  # that tells it; in teacher.unchecked, no call is made for it


class Repeats(NamedTuple):
    """Each sample is asked for `times` times; `twice`: the first one a second time, though `times` is 1."""

    times: int = 1
    twice: bool = False

    @property
    def apart(self) -> tuple[int, ...]:
        """Which answers an export holds apart from what is made of all of them, so that a ledger can own each."""
        return tuple(range(self.times)) if self.times > 1 else (1,) if self.twice else ()

    def samples_for(self, calls: int) -> int:
        """How many samples so many calls buy."""
        return calls // self.times - self.twice

    def requests(self, samples: Sequence[Request], first: int = 0) -> tuple[Request, ...]:
        """All requests for these samples (or views), in the order of purchase.

        A sample's answers are asked for one after another, so that a bound that is reached leaves few samples with a part of theirs. But of
        the `first` samples one answer each comes before all else: the canary is to see as many samples as calls.
        """
        early, rest = samples[:first], samples[first:]
        again = [one.repeated(number) for one in early for number in range(1, self.times)]
        if self.twice and samples:
            again.append(samples[0].repeated(1))
        return (*early, *again, *(one.repeated(number) for one in rest for number in range(self.times)))


ONCE = Repeats()


def repeats_of(settings: TeacherSettings, budget: int, listed: bool = False) -> Repeats:
    """How often a teacher is asked for the samples of a budget; `listed`: an order of the user's own says which those are, and no other
    call is made.

    A second answer is worth a call where the teacher may charge and may answer otherwise, and where nothing else asks it again.
    """
    twice = (
        budget >= AFFORDABLE
        and settings.samples == 1
        and settings.recheck.every is None
        and CHECK not in settings.unchecked
        and not (listed or settings.free_of_charge or isinstance(settings, TableSettings))
    )
    return Repeats(settings.samples, twice)
