"""The console script `tuition`: the ledger, the registry, predictions, the last study, a check of the parameters."""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

from tuition.cli.console import AsJson, explained
from tuition.cli.init import init
from tuition.cli.ledger import ledger_app
from tuition.cli.predict import predict
from tuition.cli.registry import COMMANDS
from tuition.cli.search import search

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Pay for every teacher call once.",
)
app.add_typer(ledger_app, name="ledger")
app.command()(init)
app.command()(predict)
app.command()(search)
for command in COMMANDS:
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tuition {version('tuition')}, Python {platform.python_version()}, torch {version('torch')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Pay for every teacher call once."""


@app.command()
@explained
def study() -> None:
    """Print the last study: its table, what was spent, and where to look.

    Example: `tuition study`
    """
    from tuition.cli.study import print_summary

    print_summary(Path("."))


@app.command()
@explained
def check(
    probe: Annotated[
        bool, typer.Option("--probe", help="Then pay for one call, which stays owned, and show the answer.")
    ] = False,
) -> None:
    """Find what is wrong with params.yaml, data, teacher and machine, without paying for a call.

    Example: `tuition check --probe`
    """
    from tuition import params as parameters
    from tuition.cli.check import look

    params = parameters.load()
    found = look(params)
    for note in found.notes:
        typer.echo(note)
    for error in found.errors:
        typer.echo(f"error: {error}", err=True)
    if found.errors:
        raise typer.Exit(2)
    typer.echo(
        f"params.yaml is valid: {len(params.study.cells())} cells, teacher {params.teacher.name!r} ({params.teacher.kind})"
    )
    if probe:
        from tuition.cli.probe import probe as ask

        typer.echo(ask(params))


@app.command("params")
@explained
def print_params(
    defaults: Annotated[bool, typer.Option("--defaults", help="As they are where params.yaml says nothing.")] = False,
) -> None:
    """Print every key of every section: the value in effect, and what it is for.

    Example: `tuition params | less`
    """
    from tuition import params as parameters
    from tuition.params.written import defaults as of_schema
    from tuition.params.written import whole

    typer.echo(whole(of_schema() if defaults else parameters.load()), nl=False)


@app.command()
@explained
def methods(as_json: AsJson = False) -> None:
    """List the methods: source, evidence, the teacher's signals that they read, their price in calls a sample, settings.

    Example: `tuition methods --json`
    """
    from tuition.methods.catalogue import catalogue, print_catalogue

    if as_json:
        typer.echo(json.dumps({"methods": catalogue()}, indent=2))
    else:
        print_catalogue()


@app.command()
@explained
def use(
    study: Annotated[Path, typer.Argument(help="A file such as studies/icd.yaml.")],
    size: Annotated[
        Literal["small", "full"], typer.Option(help="The digits in minutes, or the study as published.")
    ] = "small",
) -> None:
    """Write a study's parameters into params.yaml; comments stay, and so does the file where the result is not valid.

    Example: `tuition use studies/icd.yaml --size small`
    """
    from tuition.cli.presets import use as use_study

    params = use_study(study, size)
    typer.echo(
        f"params.yaml holds {study} ({size}): {len(params.study.cells())} cells, budgets up to {max(params.study.budgets)} "
        f"calls. `git diff params.yaml` shows it; `dvc repro` runs it"
    )


@app.command()
@explained
def track() -> None:
    """Bring MLflow in line with the study's files, as after `dvc pull`, when no stage runs.

    Example: `tuition track`
    """
    from tuition import params as parameters
    from tuition.tracking import reconcile

    reconcile(parameters.load())


if __name__ == "__main__":
    app()
