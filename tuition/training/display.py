"""What a person sees of a run while it trains, and how fast it went."""

import time
from types import TracebackType
from typing import NotRequired, Self, TypedDict

import psutil
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tuition.training.loop import Row


class Speed(TypedDict):
    device: str
    seconds: float
    startup_seconds: float
    steps_per_second: float
    images_per_second: float
    batch_size: int
    processes: NotRequired[int]


class Display:
    """A bar on a terminal, one line a validation in a log, nothing where `quiet`; and the clock: the first step warms up."""

    def __init__(self, name: str, steps: int, first: int, batch_size: int, quiet: bool, figure: str = "val_top1"):
        self.name, self.steps, self.first, self.batch_size, self.quiet = name, steps, first, batch_size, quiet
        self.figure = figure
        self.begin, self.startup = 0.0, 0.0
        self.console = Console(stderr=True)
        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), _Rate(batch_size), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal or quiet)
        self.task = self.bar.add_task(name, total=steps, completed=first)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def step(self, step: int) -> None:
        """To be called after each step."""
        if step == self.first + 1:
            self.begin, self.startup = time.perf_counter(), _since_start()
        self.bar.update(self.task, completed=step)

    def row(self, row: Row) -> None:
        """To be called after each validation."""
        if not self.quiet and not self.console.is_terminal:
            print(
                f"{self.name}: step {row['step']:.0f}/{self.steps} loss {row['loss']:.4f} {self.figure} {row[self.figure]:.4f}",
                flush=True,
            )

    def speed(self, device: torch.device, processes: int) -> Speed:
        """Of the whole run but its first step, to be asked for when it has ended."""
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self.begin
        steps = max(1, self.steps - self.first - 1)
        speed = Speed(
            device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            seconds=round(seconds, 3),
            startup_seconds=round(self.startup, 3),
            steps_per_second=round(steps / seconds, 2),
            images_per_second=round(steps * self.batch_size / seconds, 1),
            batch_size=self.batch_size,
        )
        if processes > 1:
            speed["processes"] = processes
        return speed


def _since_start() -> float:
    """Seconds since this process was started."""
    return time.time() - psutil.Process().create_time()


class _Rate(TextColumn):
    """Images a second, from the bar's own estimate of steps a second."""

    def __init__(self, batch_size: int):
        super().__init__("")
        self.batch_size = batch_size

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed * self.batch_size:,.0f} images/s" if task.speed else "")
