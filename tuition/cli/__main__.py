"""The console script `tuition`: the ledger and the registry (`commands.py` of each), the last study, a check of the parameters."""

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from tuition.cli.console import AsJson, explained
from tuition.cli.ledger import ledger_app
from tuition.cli.registry import COMMANDS

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Pay for every teacher call once."
)
app.add_typer(ledger_app, name="ledger")
for command in COMMANDS:
    app.command()(command)


@app.command()
@explained
def study() -> None:
    """Print the last study: its table, what was spent, and where to look."""
    from tuition.cli.study import print_summary

    print_summary(Path("."))


@app.command()
@explained
def check() -> None:
    """Check params.yaml whole, methods' settings, the files that it names and MLflow's store too, without running anything."""
    from tuition import params as parameters
    from tuition.params.places import check_places
    from tuition.purchase.account import check_price
    from tuition.teachers import KINDS
    from tuition.tracking import check_store

    params = parameters.load()
    from tuition.preflight import check_methods

    # What a function or a format of one's own gives is known when it is loaded; `teach` checks it before the first call.
    check_methods(params, params.teacher.offered)
    for teacher in (params.teacher, *params.teachers):
        check_price(teacher)
    check_places(params)
    check_store()
    cells = len(params.study.cells())
    typer.echo(
        f"params.yaml is valid: {cells} cells, teacher {params.teacher.name!r} ({params.teacher.kind}; kinds: {', '.join(KINDS)})"
    )


@app.command()
@explained
def methods(as_json: AsJson = False) -> None:
    """List the methods: source, evidence, the teacher's signals that they read, their price in calls a sample, settings."""
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
    """Write a study's parameters into params.yaml; comments stay, and so does the file where the result is not valid."""
    from tuition.cli.presets import use as use_study

    params = use_study(study, size)
    typer.echo(
        f"params.yaml holds {study} ({size}): {len(params.study.cells())} cells, budgets up to {max(params.study.budgets)} "
        f"calls. `git diff params.yaml` shows it; `dvc repro` runs it"
    )


@app.command()
@explained
def track() -> None:
    """Bring MLflow in line with the study's files, as after `dvc pull`, when no stage runs."""
    from tuition import params as parameters
    from tuition.tracking import reconcile

    reconcile(parameters.load())


if __name__ == "__main__":
    app()
