"""The console script `tuition`: the ledger, the last study's figures, and a check of the parameters."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from stages.errors import UserError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Pay for every teacher call once."
)
ledger_app = typer.Typer(
    no_args_is_help=True, help="What is owned, what was spent. Its place: TUITION_LEDGER, else the user's data folder."
)
app.add_typer(ledger_app, name="ledger")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Which = Annotated[
    str | None, typer.Option("--teacher", help="A fingerprint or its beginning; not needed where there is one teacher.")
]


def explained(command: Callable) -> Callable:
    """A UserError becomes one line and exit status 2."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        try:
            command(*args, **options)
        except UserError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from None

    return wrapped


@app.command()
@explained
def study() -> None:
    """Print the last study: its table, what was spent, and where to look."""
    from stages.evaluate.summary import print_summary

    print_summary(Path("."))


@app.command()
@explained
def check() -> None:
    """Check params.yaml whole, methods' settings too, without running anything."""
    from stages import params as parameters
    from stages.teach.teachers import KINDS

    params = parameters.load()
    from stages.preflight import check_methods

    # What a function gives is known when it is loaded; `teach` checks it before the first call.
    offered = {"checkpoint": params.teacher.signals, "experts": ("logits", "difficulty", "expert"), "python": None}
    check_methods(params, offered[params.teacher.kind])
    cells = len(params.study.cells())
    typer.echo(
        f"params.yaml is valid: {cells} cells, teacher {params.teacher.name!r} ({params.teacher.kind}; kinds: {', '.join(KINDS)})"
    )


@app.command()
@explained
def methods(as_json: AsJson = False) -> None:
    """List the methods: source, evidence, the teacher's signals that they read, their price in calls a sample, settings."""
    from stages.catalogue import catalogue, print_catalogue

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
    from stages.study_files import use as use_study

    params = use_study(study, size)
    typer.echo(
        f"params.yaml holds {study} ({size}): {len(params.study.cells())} cells, budgets up to {max(params.study.budgets)} "
        f"calls. `git diff params.yaml` shows it; `dvc repro` runs it"
    )


@app.command()
@explained
def track() -> None:
    """Bring MLflow in line with the study's files, as after `dvc pull`, when no stage runs."""
    from stages import params as parameters
    from stages.tracking import reconcile

    reconcile(parameters.load())


@ledger_app.command()
@explained
def status(as_json: AsJson = False) -> None:
    """Each teacher's calls by state, cost, and samples owned."""
    from stages.ledger import accounts, database

    place = database.locate()
    found = []
    if database.exists(place):  # asking makes no ledger
        ledger = database.open_ledger(place)
        place, found = ledger.place, accounts.status(ledger)  # ledger.place shows no password
    if as_json:
        typer.echo(json.dumps({"teachers": found}, indent=2))
        return
    typer.echo(f"ledger {place}" if found else f"ledger {place}: nothing bought yet")
    for one in found:
        made = ", ".join(f"{number} {state}" for state, number in one["calls"].items())
        cap = "no cap" if one["cap"] is None else f"cap {one['cap']}"
        typer.echo(
            f"  {one['fingerprint'][:12]} {one['name']}: {made}; {one['samples']} samples owned; cost {one['cost']:g}; {cap}"
        )
        if one["calls"]["unknown"]:
            typer.echo(
                "    unknown calls count as spent: see `tuition ledger unknown` and `tuition ledger resolve --help`"
            )


@ledger_app.command()
@explained
def unknown(teacher: Which = None, as_json: AsJson = False) -> None:
    """List the calls that may or may not have been charged."""
    from stages.ledger import accounts, calls, database

    ledger = database.open_existing()
    account = accounts.find(ledger, teacher)
    calls.settle(ledger, account.id)  # those of a process that was killed, too
    listed = accounts.unknown_calls(ledger, account.id)
    if as_json:
        typer.echo(json.dumps({"calls": listed}, indent=2))
        return
    for call in listed:
        typer.echo(f"{call['id']}  sample {call['sample'][:16]}  key {call['key']}  {call['detail']}")
    typer.echo(f"{len(listed)} unknown calls")


@ledger_app.command()
@explained
def resolve(
    outcome: Annotated[Literal["charged", "refunded"], typer.Argument(help="What the provider's bill says.")],
    teacher: Which = None,
    cost: Annotated[float, typer.Option(min=0, max=1e6, help="Of each call, where charged.")] = 0.0,
    call: Annotated[list[int] | None, typer.Option(help="Only this call; may be repeated. Default: all.")] = None,
) -> None:
    """Settle unknown calls: charged (spent, the answer is lost) or refunded (the sample may be bought again)."""
    from stages.ledger import accounts, calls, database

    ledger = database.open_existing()
    account = accounts.find(ledger, teacher)
    calls.settle(ledger, account.id)  # those of a process that was killed, too
    hit = accounts.resolve(ledger, account.id, outcome == "charged", cost, call)
    again = "; `dvc repro -f -s teach@<budget>` buys them, then `dvc repro`" if hit and outcome == "refunded" else ""
    typer.echo(f"{hit} calls of {account.name} resolved as {outcome}{again}")


@ledger_app.command("export")
@explained
def export_(
    folder: Path,
    teacher: Which = None,
    signals: Annotated[str | None, typer.Option(help="Comma-separated; else those that every sample has.")] = None,
) -> None:
    """Write what is owned of a teacher to a new folder: ids, one .npy a signal, costs, meta.json."""
    from stages.ledger import database, exports

    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise UserError(f"{folder}: is a file or not empty; name a new folder")
    number, left_out = exports.export(
        database.open_existing(), folder, teacher, signals.split(",") if signals else None
    )
    typer.echo(f"{number} samples written to {folder}")
    for signal, count in left_out.items():
        typer.echo(f"  left out: {signal}, owned of {count} samples; `--signals {signal},…` writes those that have it")


@ledger_app.command("import")
@explained
def import_(folders: list[Path]) -> None:
    """Own what exports hold: folders that `export` wrote, or outputs/<budget> of a clone. Importing twice changes nothing."""
    from stages.ledger import database, imports

    ledger = database.open_ledger()
    for folder in (one for given in folders for one in (given, given / "mixed")):
        if (
            folder.name == "mixed" and not (folder / "meta.json").exists()
        ):  # outputs/<budget>/ may hold mixed inputs too
            continue
        taken, held = imports.import_folder(ledger, folder)
        typer.echo(f"{folder}: {taken} samples taken, {held} were owned already")


@ledger_app.command()
@explained
def audit() -> None:
    """Check the books: counters against calls, every done call has its outputs."""
    from stages.ledger import accounts, database

    wrong = accounts.audit(database.open_existing())
    if wrong:
        raise UserError("; ".join(wrong))
    typer.echo("the books are right")


if __name__ == "__main__":
    app()
