"""The scheduled flow: new samples from the inbox, the period's allowance spent on the most useful of them, a challenger.

    python -m flows.refresh [--inbox PLACE] [--allowance CALLS] [--strategy NAME] [-S section.key=value ...]

Run twice it spends once, and killed anywhere the next run goes on: `tuition/intake/plan.py` says how.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from prefect import flow, runtime
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas import filters
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from flows.local.commands import Commands
from flows.local.lock import workspace_lock
from flows.run import artifact, pipeline, runs
from flows.run.overrides import apply_overrides
from flows.run.study import reproduce, run_study
from tuition.errors import UserError, run
from tuition.params import load
from tuition.tracking.lineage import check_git
from tuition.workspace import Workspace

STAGE = [sys.executable, "-m", "tuition.intake"]
WAITING = ["Scheduled", "Late", "AwaitingConcurrencySlot"]


class Broken(Exception):
    """A step failed; the text says which, and its last lines."""


@flow(name="refresh", persist_result=False)
def refresh(
    inbox: str | None = None,
    allowance: Annotated[int | None, Field(ge=1)] = None,
    strategy: Literal["uncertain", "random", "balanced", "kcenter"] | None = None,
) -> Any:
    """Take what is new in the inbox, buy the most useful of it within the period's allowance, train, and promote who wins.

    With nothing new, nothing is spent and nothing is run. Leaves the artifact `refresh`: what was taken, bought and spent, the champion
    before and after, and the study. A field that is left empty is as in params.yaml.

    Args:
        inbox: A folder or s3://bucket/prefix with new images, in class folders or without labels (refresh.inbox).
        allowance: Teacher calls a period, at most (refresh.allowance).
        strategy: Which new samples first; uncertain: those the champion is least sure of (refresh.strategy).
    """
    commands = Commands()
    runs.end_with_worker()
    missed = cancel_missed_runs()
    try:
        with workspace_lock(runs.flow_run_name()):
            line, text, complete = _refresh(commands, inbox, allowance, strategy)
    except (UserError, Broken) as error:
        line, text, complete = str(error), f"# The refresh is not complete\n\n```\n{error}\n```\n", False
    finally:  # on Ctrl-C, SIGTERM and cancellation too
        commands.stop()
    if missed:
        text += f"\n{len(missed)} missed runs of this deployment were skipped: {', '.join(missed)}.\n"
    create_markdown_artifact(text, key="refresh", description="What was taken, bought and spent, and who is champion.")
    print(f"\n{artifact.terminal_text(text)}", flush=True)
    return Completed(message=line) if complete else Failed(message=line)


def _refresh(
    commands: Commands, inbox: str | None, allowance: int | None, strategy: str | None
) -> tuple[str, str, bool]:
    """(a line on what came of it, the artifact's text, whether it is complete). Raises Broken where a step fails."""
    check_git()
    retries = load().flows.retries

    def step(name: str, command: list[str]) -> None:
        failures: dict[str, list[str]] = {}
        state = reproduce(name, partial(commands.run, command), retries, commands, failures, return_state=True)
        if not state.is_completed():
            raise Broken(f"{name} failed: " + "\n".join(failures.get(name, [state.message or ""])))

    prepare = [*pipeline.DVC, "repro", "prepare"]
    here = Workspace()
    if not here.data.meta.exists():
        step("prepare first", prepare)
    step("take", [*STAGE, "take", *_option("inbox", inbox)])
    taken = _read(here.refresh.taken)
    if taken["additions"]:
        step("add", [*pipeline.DVC, "add", taken["folder"]])  # changes nothing where nothing is new
    step("prepare", prepare)
    step("plan", [*STAGE, "plan", *_option("allowance", allowance), *_option("strategy", strategy)])
    plan = _read(here.refresh.plan)
    # An order that buys nothing is looked at all the same: the last run may have been broken off behind its purchase.
    study = None
    if plan["new"] or (plan["run"] and pipeline.read_pipeline(commands)[1]):
        study = run_study(commands, load())
    step("close", [*STAGE, "close"])
    result = _read(here.refresh.result)
    line, text = outcome_text(result, ran=study is not None)
    if study is None:
        return line, text, True
    done, of_study, complete = study
    return (line if complete else done), f"{text}\n{of_study}", complete


def outcome_text(result: dict[str, Any], ran: bool) -> tuple[str, str]:
    """A refresh in a line, and as Markdown, from `refresh/result.json`."""
    every = result["every"]
    if not ran:
        why = f"{result['later']} wait for another {every}" if result["later"] else "nothing new"
        line = f"{why}: nothing was spent and nothing was run"
    elif result["bought"]:
        line = f"{result['taken']} new samples taken, {result['bought']} calls bought"
    else:
        line = "the last refresh was brought to its end; nothing was spent"
    before, after = result["champion_before"], result["champion"]
    rows = [
        (
            "new samples",
            f"{result['taken']} taken, {result['duplicates']} held already, {result['rejected']} were none",
        ),
        ("bought now", f"{result['bought']} calls, by {result['ranked_by']}"),
        (f"spent this {every}", f"{result['spent']} of {result['allowance']} calls"),
        ("waiting", f"{result['later']} samples"),
        ("champion before", f"version {before}" if before else "none"),
        ("champion now", f"version {after}" if after else "none"),
    ]
    if ran:
        rows.append(("verdict", result["verdict"]))
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    return line, f"# Refresh: {line}\n\n| | |\n|---|---|\n{table}\n"


def cancel_missed_runs() -> list[str]:
    """Cancel this deployment's other scheduled runs whose time has passed, and return their names: this run does what they would.

    Runs that someone asked for by hand stay. Does nothing where the flow runs without a deployment.
    """
    own, deployment = runtime.flow_run.id, runtime.deployment.id
    if deployment is None:
        return []
    passed = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment]),
        state=filters.FlowRunFilterState(name=filters.FlowRunFilterStateName(any_=WAITING)),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=cast(Any, datetime.now(UTC))),
    )
    names: list[str] = []
    with get_client(sync_client=True) as client:
        while found := [
            one
            for one in client.read_flow_runs(flow_run_filter=passed, limit=200)
            if one.auto_scheduled and str(one.id) != str(own) and one.name not in names
        ]:
            for one in found:
                client.set_flow_run_state(one.id, Cancelled(message="its period passed; a later run does its work"))
                names.append(one.name)
    return names


def _option(name: str, value: object) -> list[str]:
    return [] if value is None else [f"--{name}", str(value)]


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def main(argv: list[str]) -> None:
    """Check the parameters, run the flow, exit with 1 where a step failed."""
    parser = argparse.ArgumentParser(prog="python -m flows.refresh", description="Refresh the champion once.")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="section.key=value",
        help="change params.yaml first, as `dvc exp run -S` does",
    )
    parser.add_argument("--inbox", metavar="PLACE", help="folder or s3://bucket/prefix (refresh.inbox)")
    parser.add_argument("--allowance", type=int, metavar="CALLS", help="calls a period (refresh.allowance)")
    parser.add_argument(
        "--strategy",
        choices=["uncertain", "random", "balanced", "kcenter"],
        help="which new samples first (refresh.strategy)",
    )
    options = parser.parse_args(argv)
    if options.allowance is not None and options.allowance < 1:
        parser.error(f"--allowance {options.allowance}: expected 1 or more")
    with workspace_lock("refresh"):
        if options.set_param:
            apply_overrides(options.set_param)
        load()
        runs.run_to_the_end(refresh, options.inbox, options.allowance, options.strategy)


if __name__ == "__main__":
    run(main)
