"""What the commands of `tuition` share: how errors are told, and the option for JSON."""

import functools
from collections.abc import Callable
from typing import Annotated

import typer

from tuition.errors import UserError, speak_any_name

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def explained(command: Callable) -> Callable:
    """A UserError becomes one line and its exit status."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        speak_any_name()
        try:
            command(*args, **options)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.status) from None

    return wrapped
