"""A progress line with rate and time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Yields `progress(done, left)`; the line shows done, rate and ETA on a terminal, and nothing elsewhere."""
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=not console.is_terminal, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task(title, total=None, rate="")

        def progress(done: int, left: int) -> None:
            speed = shown.tasks[task].speed
            shown.update(task, completed=done, total=done + left, rate=f"{speed:.0f}/s" if speed else "")

        yield progress
