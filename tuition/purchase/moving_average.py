"""How long something takes of late."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

DECAY = 0.9


class MovingAverage:
    """An exponentially weighted average of how long something took, in seconds; 0 until it has been timed."""

    def __init__(self) -> None:
        self.value = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count a block, where it comes to its end."""
        begin = time.monotonic()
        yield
        seconds = time.monotonic() - begin
        self.value = seconds if not self.value else DECAY * self.value + (1 - DECAY) * seconds
