"""What the commands of `tuition` share: how errors are told, the option for JSON, a plain table."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from tuition.errors import UserError, speak_any_name
from tuition.workspace import given

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def explained(command: Callable) -> Callable:
    """A UserError becomes one line and its exit status."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        speak_any_name()
        try:
            command(*args, **{name: _expanded(value) for name, value in options.items()})
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.status) from None

    return wrapped


def _expanded(value: object) -> object:
    """Paths with their `~` expanded: of `--folder=~/here` no shell does it."""
    if isinstance(value, list):
        return [_expanded(one) for one in value]
    return given(value) if isinstance(value, Path) else value


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest entry; the last one may be of any length."""
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads) - 1)]
    for row in [heads, *rows]:
        typer.echo(
            "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        )
