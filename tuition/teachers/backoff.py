"""How long to wait before an attempt is made again, whatever kind of teacher is asked."""

import random

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds; a wait is drawn evenly from 0 to a bound that doubles with each attempt


def full_jitter(number: int) -> float:
    """Seconds until the next attempt after the `number`-th."""
    return random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(number - 1, 16)))
