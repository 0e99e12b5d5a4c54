"""`tuition promote`, `demote`, `history`, `lineage`, `reproduce`, `export`: the registry as a person sees it.

This module imports little: what a command needs, it imports when it runs.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuition.cli.console import AsJson, explained, print_table
from tuition.errors import UserError

if TYPE_CHECKING:
    from tuition.registry.evidence import Purchase
    from tuition.registry.history import Event
    from tuition.tracking.store import Store

Which = Annotated[str, typer.Argument(help="A version's number or an alias, or models:/<name>@champion.")]
Name = Annotated[
    str | None, typer.Option("--name", help="The registered model; register.name of params.yaml by default.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


@explained
def promote(
    which: Which = "challenger",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Explain the verdict and change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote whatever the verdict; needs --reason.")] = False,
    reason: Reason = "",
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Make a version champion where it beats the champion and keeps register.guard; exit status 1 where it does not.

    Example: `tuition promote challenger --dry-run`
    """
    from tuition.params import load
    from tuition.registry import decide, history, registry

    if force and not reason.strip():
        raise UserError('--force: say why, as in --reason "approved by the clinic"')
    settings = load().registry
    name, which = registry.parse_model(which, name or settings.name)
    store = _open(name)
    version = registry.resolve_version(store, name, which)
    champion = registry.champion_of(store, name)
    verdict = decide.decide_promotion(store, champion, version, settings, by_hand=True)
    is_champion = champion is not None and str(champion.version) == str(version.version)
    goes = (verdict["promoted"] or force) and not is_champion
    if goes and not dry_run:
        forced = not verdict["promoted"]
        by, why = history.acting_user("tuition promote"), reason or verdict["reason"]
        history.promote_version(store, name, version, verdict, by=by, reason=why, forced=forced)
    outcome = "champion already" if is_champion else "promoted" if goes else "not promoted"
    if dry_run and goes:
        outcome = "would be promoted"
    if as_json:
        typer.echo(json.dumps({"name": name, "outcome": outcome, "dry_run": dry_run, "verdict": verdict}, indent=2))
    else:
        marks = {True: "kept", False: "BROKEN"}
        print_table(["check", "", "finding"], [[c["check"], marks[c["passed"]], c["says"]] for c in verdict["checks"]])
        former = f" over version {champion.version}" if goes and champion is not None else ""
        typer.echo(f"{name} version {version.version} ({version.tags.get('cell')}): {outcome}{former}")
    if not (goes or is_champion):
        raise typer.Exit(1)


@explained
def demote(reason: Reason = "", name: Name = None, as_json: AsJson = False) -> None:
    """Give the alias `champion` back to the version that had it before.

    Example: `tuition demote`
    """
    from tuition.registry import history

    name = _name(name)
    event = history.demote_champion(_open(name), name, by=history.acting_user("tuition demote"), reason=reason)
    _print(as_json, event, f"{name}: version {event['to']} is champion again, version {event['version']} is not")


@explained
def history(name: Name = None, as_json: AsJson = False) -> None:
    """Every promotion and demotion: when, which version, by whom, over which, why, and what its student's calls came to.

    Example: `tuition history`
    """
    from tuition.registry import evidence, registry
    from tuition.registry.history import promotion_events

    name = _name(name)
    store = _open(name)
    if registry.model_of(store, name) is None:
        registry.resolve_version(store, name, "champion")  # tells what there is
    versions = {str(version.version): version for version in registry.versions_of(store, name)}
    events = promotion_events(store, name)
    purchases = [evidence.purchase_of_tags(versions[event["version"]].tags) for event in events]
    champion = registry.champion_of(store, name)
    now = None if champion is None else str(champion.version)
    if as_json:
        listed = [{**event, "made_of": purchase} for event, purchase in zip(events, purchases, strict=True)]
        typer.echo(json.dumps({"name": name, "champion": now, "events": listed}, indent=2))
        return
    rows = [_event_row(event, purchase) for event, purchase in zip(events, purchases, strict=True)]
    print_table(["when (UTC)", "what", "version", "cell", "", "by", "calls", "cost", "why"], rows)
    typer.echo(f"champion of {name} now: {'none' if now is None else f'version {now}'}")


def _event_row(event: "Event", purchase: "Purchase") -> list[str]:
    other = event.get("over") or event.get("to")
    word = "over" if event["event"] == "promoted" else "back to"
    calls, cost = purchase["calls"], purchase["cost"]
    return [
        event["at"][:19].replace("T", " "),
        event["event"] + (" by force" if event.get("forced") else ""),
        event["version"],
        event["cell"] or "",
        f"{word} {other}" if other else "",
        event["by"],
        "" if calls is None else f"{calls:,}",
        "" if cost is None else f"{cost:g}",
        event["reason"],
    ]


@explained
def lineage(which: Which = "champion", name: Name = None, as_json: AsJson = False) -> None:
    """Which calls, at what cost, made a version's student: teacher, budget, samples, code, and where the answers are.

    Example: `tuition lineage models:/my-students@champion`
    """
    from tuition.registry import evidence, registry

    name, which = _parsed(which, name)
    store = _open(name)
    version = registry.resolve_version(store, name, which)
    tags = {key: text for key, text in version.tags.items() if key != "verdict" and not key.startswith("promotion.")}
    made = evidence.read_purchase(store, version)
    lineage_of = {
        "name": name,
        "version": str(version.version),
        "run_id": version.run_id,
        "made_of": made,
        "tags": tags,
    }
    outputs, teacher, calls = made["outputs"], made["teacher"], "not known"
    if made["calls"] is not None:
        calls = f"{made['calls']:,} of budget {made['budget']}, cost {made['cost']:g}"
    if made.get("total_calls") not in (None, made["calls"]):
        calls += f"; {made['total_calls']:,}, cost {made['total_cost']:g}, with all that was bought beside them"
    changes = ", with changes" if tags.get("git_dirty") == "true" else ""
    lines = [
        f"{name} version {version.version}: student {tags.get('cell')}, weights sha256 {tags.get('weights_sha256')}",
        f"teacher   {teacher['name']}, fingerprint {teacher['fingerprint']}",
        f"calls     {calls}",
        f"answers   {outputs['path']}, DVC {outputs.get('dvc')}, digest {outputs.get('digest')}",
        f"samples   lineage/ids.npy of run {version.run_id}, digest {outputs.get('ids')}",
        f"code      commit {tags.get('git_commit')}{changes}; {tags.get('made_with', '')}",
    ]
    _print(as_json, lineage_of, "\n".join(lines))


@explained
def reproduce(
    model: Which = "champion",
    folder: Annotated[Path | None, typer.Option(help="Work here and leave it; a temporary folder by default.")] = None,
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Train a version's student again, from its commit and DVC's files, and compare the weights; exit status 1 where they differ.

    Example: `tuition reproduce models:/my-students/2`
    """
    from tuition.registry import registry
    from tuition.registry.reproduce import reproduce_student

    name, which = _parsed(model, name)
    store = _open(name)
    version = registry.resolve_version(store, name, which)
    outcome = reproduce_student(store, version, folder, lambda line: typer.echo(line, err=as_json))
    lines = [f"recorded   {outcome['recorded']}", f"reproduced {outcome['reproduced']}", outcome["says"]]
    _print(as_json, outcome, "\n".join(lines))
    if not outcome["equal"]:
        raise typer.Exit(1)


@explained
def export(
    model: Annotated[str, typer.Argument(help="models:/<name>@champion, or a version's number or alias.")],
    file: Annotated[Path, typer.Argument(help="The ONNX file to write.")],
    name: Name = None,
    as_json: AsJson = False,
) -> None:
    """Write a version's student as ONNX, any batch size, once ONNX Runtime has given the same answers as torch.

    Example: `tuition export models:/my-students@champion student.onnx`
    """
    from tuition.registry import registry
    from tuition.registry.onnx_file import write_onnx

    name, which = _parsed(model, name)
    store = _open(name)
    outcome = write_onnx(store, registry.resolve_version(store, name, which), file)
    beside = f"; beside it {', '.join(outcome['beside'])}" if outcome["beside"] else ""
    _print(as_json, outcome, f"{file}: {outcome['bytes']:,} bytes; {outcome['says']}{beside}")


COMMANDS: list[Callable[..., None]] = [promote, demote, history, lineage, reproduce, export]


def _name(name: str | None) -> str:
    from tuition.params import load

    return name or load().registry.name


def _parsed(which: str, name: str | None) -> tuple[str, str]:
    from tuition.registry.registry import parse_model

    return parse_model(which) if which.startswith("models:") else parse_model(which, _name(name))


def _open(name: str) -> "Store":
    from tuition.tracking.store import connect_store

    return connect_store(name, create=False)


def _print(as_json: bool, value: Mapping[str, object], text: str) -> None:
    typer.echo(json.dumps(value, indent=2) if as_json else text)
