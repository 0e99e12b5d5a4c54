"""`tuition ledger`: what is owned, what was spent, and how to set right what went wrong."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tuition.cli.console import AsJson, explained
from tuition.cli.ledger_words import answered_by, bounds, call_line
from tuition.errors import UserError

if TYPE_CHECKING:
    from tuition.ledger.database import Ledger

ledger_app = typer.Typer(
    no_args_is_help=True, help="What is owned, what was spent. Its place: TUITION_LEDGER, else the user's data folder."
)
Which = Annotated[
    str | None, typer.Option("--teacher", help="A fingerprint or its beginning; not needed where there is one teacher.")
]
Some = Annotated[
    str | None, typer.Option("--teacher", help="A fingerprint or its beginning; without it, each teacher in turn.")
]
State = StrEnum("State", "reserved sent done unknown refunded")


def _print(as_json: bool, value: dict[str, Any], lines: Sequence[str]) -> None:
    typer.echo(json.dumps(value, indent=2) if as_json else "\n".join(lines))


@ledger_app.command()
@explained
def status(as_json: AsJson = False) -> None:
    """Each teacher's calls by state, tokens, cost, bounds, and samples owned.

    Example: `tuition ledger status --json`
    """
    from tuition.ledger import accounts, database

    place = database.locate()
    found = []
    if database.exists(place):  # asking makes no ledger
        ledger = database.open_ledger(place)
        place, found = ledger.place, accounts.status(ledger)  # ledger.place shows no password
    lines = [f"ledger {place}" if found else f"ledger {place}: nothing bought yet"]
    for one in found:
        made = ", ".join(f"{number} {state}" for state, number in one["calls"].items())
        bill = f"cost {one['cost']:g}" + (f", {one['tokens']} tokens" if one["tokens"] else "")
        if one["held"]["cost"] or one["held"]["tokens"]:
            bill += f" (at most {one['held']['cost']:g} and {one['held']['tokens']} tokens more for what is under way or unknown)"
        lines.append(
            f"  {one['fingerprint'][:12]} {one['name']}: {made}; {one['samples']} samples owned; {bill}; {bounds(one['caps'])}"
        )
        if any(one["caps"]["period"][unit] is not None for unit in ("calls", "tokens", "money")):
            seen = ", ".join(f"{one['period'][unit]:g} {unit}" for unit in ("calls", "tokens", "money"))
            lines.append(f"    this {one['period']['every']}: {seen}")
        lines += answered_by(one)
        if one["calls"]["unknown"]:
            lines.append(
                "    unknown calls count as spent: see `tuition ledger unknown` and `tuition ledger resolve --help`"
            )
    _print(as_json, {"teachers": found}, lines)


@ledger_app.command("calls")
@explained
def calls_(
    teacher: Some = None,
    state: Annotated[list[State] | None, typer.Option(help="Only these; may be repeated.")] = None,
    malformed: Annotated[bool, typer.Option("--malformed", help="Only those charged without a usable answer.")] = False,
    answer: Annotated[
        int | None, typer.Option(help="Print the rejected answer to the call with this id, as it came.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The latest so many of a teacher.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List calls, the latest first: state, sample, view, key, the sample's file, tokens, cost, when, by whom, why.

    Example: `tuition ledger calls --state unknown --limit 10`
    """
    from tuition.ledger import accounts, database

    ledger = database.open_existing()
    if answer is not None:
        reason, raw = accounts.rejected_answer(ledger, answer)
        text = raw.decode(errors="replace")
        _print(as_json, {"call": answer, "reason": reason, "answer": text}, [reason, text])
        return
    found, lines = _listed(ledger, teacher, "", state or (), False if malformed else None, limit)
    _print(as_json, {"calls": found}, lines)


def _listed(ledger: "Ledger", teacher: str | None, kind: str, *which: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The calls of one teacher, or of each, and the lines that tell of them: a teacher's calls, and how many of this `kind` there are."""
    from tuition.ledger import accounts, calls
    from tuition.origins import named

    found: list[dict[str, Any]] = []
    lines: list[str] = []
    for account in accounts.matching(ledger, teacher):
        calls.settle(ledger, account.id)  # those of a process that was killed, too
        own = accounts.listed(ledger, account.id, *which)
        places = named(one["sample"] for one in own)
        own = [{**one, "file": places.get(one["sample"])} for one in own]
        found += [{**one, "teacher": account.fingerprint} for one in own]
        lines += [*(call_line(one) for one in own), f"{len(own)} {kind}calls of {account.name}"]
    return found, lines or ["nothing bought yet"]


@ledger_app.command()
@explained
def unknown(teacher: Some = None, as_json: AsJson = False) -> None:
    """List the calls that may or may not have been charged, and what to do.

    Example: `tuition ledger unknown`
    """
    from tuition.ledger import database

    found, lines = _listed(database.open_existing(), teacher, "unknown ", ["unknown"])
    if found:
        lines += [
            "Look for their keys or times in the provider's log or bill. Those that are not there may be bought again after",
            "`tuition ledger resolve refunded --call ID …`; those that are there stay spent: `tuition ledger resolve charged --cost MONEY "
            "--call ID …`.",
            "Where the provider never charges a key twice, set teacher.idempotent: true, and they are sent again by themselves.",
        ]
    _print(as_json, {"calls": found}, lines)


@ledger_app.command()
@explained
def resolve(
    outcome: Annotated[Literal["charged", "refunded"], typer.Argument(help="What the provider's bill says.")],
    teacher: Which = None,
    as_json: AsJson = False,
    cost: Annotated[
        float | None,
        typer.Option(min=0, max=1e6, help="Of each call, where charged. Default: the most it may have come to."),
    ] = None,
    call: Annotated[list[int] | None, typer.Option(help="Only this call; may be repeated. Default: all.")] = None,
    malformed: Annotated[
        bool,
        typer.Option("--malformed", help="Refunded: of calls whose answers could not be used, not of unknown ones."),
    ] = False,
) -> None:
    """Settle unknown calls: charged (spent, the answer is lost) or refunded (the sample may be bought again).

    With `refunded --malformed`, give back calls whose answers could not be used and that the bill shows as not charged.

    Example: `tuition ledger resolve refunded --malformed`
    """
    from tuition.ledger import accounts, calls, database

    if malformed and (outcome == "charged" or cost is not None):
        raise UserError(
            "--malformed: goes with `refunded` and without --cost; malformed answers count as charged already"
        )
    ledger = database.open_existing()
    account = accounts.find(ledger, teacher)
    calls.settle(ledger, account.id)  # those of a process that was killed, too
    if malformed:
        hit = accounts.give_back(ledger, account.id, call or None)
    else:
        hit = accounts.resolve(ledger, account.id, outcome == "charged", cost, call or None)
    again = "; `dvc repro -f -s teach@<budget>` buys them, then `dvc repro`" if hit and outcome == "refunded" else ""
    result = {"resolved": hit, "outcome": outcome}
    _print(as_json, result, [f"{hit} calls of {account.name} resolved as {outcome}{again}"])


@ledger_app.command("export")
@explained
def export_(
    folder: Path,
    teacher: Which = None,
    signals: Annotated[str | None, typer.Option(help="Comma-separated; else those that every sample has.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write what is owned of a teacher to a new folder: ids, one .npy a signal, costs, meta.json.

    Example: `tuition ledger export answers`
    """
    from tuition.ledger import database, exports

    if folder.is_file() or (folder.exists() and any(folder.iterdir())):
        raise UserError(f"{folder}: is a file or not empty; name a new folder")
    number, left_out = exports.export(
        database.open_existing(), folder, teacher, signals.split(",") if signals else None
    )
    lines = [f"{number} samples written to {folder}"]
    for signal, count in left_out.items():
        lines.append(
            f"  left out: {signal}, owned of {count} samples; `--signals {signal},…` writes those that have it"
        )
    _print(as_json, {"samples": number, "left_out": left_out}, lines)


@ledger_app.command("import")
@explained
def import_(folders: list[Path], as_json: AsJson = False) -> None:
    """Own what exports hold: folders that `export` wrote, or outputs/<budget> of a clone. Importing twice changes nothing.

    Example: `tuition ledger import answers outputs/400`
    """
    from tuition.ledger import database, imports

    ledger = database.open_ledger()
    counts: dict[str, dict[str, int]] = {}
    for folder in (one for given in folders for one in imports.exports_within(given)):
        taken, held = imports.import_folder(ledger, folder)
        counts[str(folder)] = {"taken": taken, "held": held}
    _print(
        as_json,
        {"folders": counts},
        [f"{one}: {n['taken']} samples taken, {n['held']} were owned already" for one, n in counts.items()],
    )


@ledger_app.command()
@explained
def verify(as_json: AsJson = False) -> None:
    """Check the books: counters against calls, every done call has its outputs, every output its checksum. Exit status 2 if not.

    Example: `tuition ledger verify`
    """
    from tuition.ledger import accounts, database

    wrong = accounts.verify(database.open_existing())
    if as_json:
        typer.echo(json.dumps({"wrong": wrong}, indent=2))
        raise typer.Exit(2 if wrong else 0)
    if wrong:
        raise UserError("; ".join(wrong))
    typer.echo("the books are right")


@ledger_app.command()
@explained
def replay(
    number: Annotated[int, typer.Argument(min=1, help="How many rows of outputs/, drawn at random.")] = 16,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the draw; default: another one each time.")] = None,
    tolerance: Annotated[float, typer.Option(min=0, help="Of an answer, absolute and relative.")] = 1e-3,
    as_json: AsJson = False,
) -> None:
    """Make some bought samples and views again from data/train: are they drawn and stored as outputs/ says, and does a local checkpoint
    still answer so? Exit status 2 if not. Nothing is paid.

    Example: `tuition ledger replay 100`
    """
    from tuition.purchase import replay as replaying

    found = replaying.replay(number, seed, tolerance)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        raise typer.Exit(2 if found["wrong"] else 0)
    if found["wrong"]:
        raise UserError("; ".join(found["wrong"]))
    typer.echo(
        f"{found['replayed']} rows made again: samples and views are as recorded; {found['in_ledger']} are in the ledger so"
    )
    if found["asked_again"]:
        most = found["largest_difference"]
        typer.echo(f"{found['asked_again']} asked again: answers differ by at most {most:.2g}")
    for why, rows in found["not_asked"].items():
        typer.echo(f"{rows} not asked again: {why}")


@ledger_app.command()
@explained
def merge(
    other: Annotated[str, typer.Argument(help="Another ledger: a file or a database URL.")], as_json: AsJson = False
) -> None:
    """Take another ledger into this one; what both have counts once. The other stays as it is.

    Example: `tuition ledger merge other/ledger.db`
    """
    from tuition.ledger import database
    from tuition.ledger.merge import merge as join

    if not database.exists(other):
        raise UserError(f"ledger {other}: no such file")
    counts = join(database.open_ledger(), database.open_ledger(other))
    lines = [
        f"{counts['taken']} samples taken, {counts['held']} were owned already, {counts['spent']} more calls count as spent",
        *([f"{counts['damaged']} outputs there are damaged and were left out"] if counts["damaged"] else []),
    ]
    _print(as_json, counts, lines)
