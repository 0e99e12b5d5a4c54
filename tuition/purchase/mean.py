"""How long something takes, of late."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Mean:
    """A running mean of how long something took, in seconds."""

    def __init__(self) -> None:
        self.value = 0.0

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count a block, where it comes to its end."""
        begin = time.monotonic()
        yield
        took = time.monotonic() - begin
        self.value = took if not self.value else 0.9 * self.value + 0.1 * took
