"""The whole study as one Prefect flow; `study` has its tasks.

python -m flows.distill [-S section.key=value ...] [--cell 400-kd-0 ...] [--parallel N] [--runner threads|dask|ray]
"""

import argparse
import json
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, Failed
from pydantic import Field

from flows.local.commands import Commands
from flows.local.lock import workspace_lock
from flows.run import artifact, runs
from flows.run.overrides import apply_overrides
from flows.run.study import run_study
from tuition.errors import UserError, run
from tuition.params import load

DESCRIPTION = "The report's table, the picture and the spend, or what failed."


@flow(name="distill", persist_result=False)
def distill(
    budgets: list[int] | None = None,
    methods: list[str] | None = None,
    seeds: list[int] | None = None,
    overrides: list[str] | None = None,
    cells: list[str] | None = None,
    runner: Literal["threads", "dask", "ray"] | None = None,
    parallel: Annotated[int, Field(ge=1)] | None = None,
    retries: Annotated[int, Field(ge=0)] | None = None,
) -> Any:
    """Bring the study up to date: what is owned is not paid again, what is up to date is not run again.

    Whatever is left empty stays as params.yaml has it; what is given is written there first. Leaves the artifact `study`: the table,
    the picture and the spend, or what failed.

    Args:
        budgets: Teacher calls, such as 100 and 400 (`study.budgets`).
        methods: Names that `tuition methods` lists (`study.methods`).
        seeds: Of the students (`study.seeds`).
        overrides: Further parameters, each as section.key=value, such as train.steps=300.
        cells: Only these cells and what they need, such as 400-kd-0; there is no report then.
        runner: Where cells are trained and evaluated (`flows.runner`).
        parallel: Cells, and other stages, at a time (`flows.parallel`).
        retries: Of a stage that was killed or reached no server (`flows.retries`).
    """
    commands = Commands()
    runs.end_with_worker()
    try:
        with workspace_lock(runs.flow_run_name()):
            given: dict[str, Any] = {"study.budgets": budgets, "study.methods": methods, "study.seeds": seeds}
            given |= {"flows.runner": runner, "flows.parallel": parallel, "flows.retries": retries}
            apply_overrides([*_as_overrides(given), *(overrides or [])])
            line, text, complete = run_study(commands, load(), cells)
    except UserError as error:
        return Failed(message=str(error))
    finally:  # on Ctrl-C, SIGTERM and cancellation too
        commands.stop()
    create_markdown_artifact(text, key="study", description=DESCRIPTION)
    print(f"\n{artifact.terminal_text(text)}", flush=True)
    return Completed(message=line) if complete else Failed(message=line)


def _as_overrides(given: dict[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]


def main(argv: list[str]) -> None:
    """Check the parameters, run the flow, exit with 1 where a stage failed."""
    parser = argparse.ArgumentParser(prog="python -m flows.distill", description="Run the whole study.")
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="section.key=value",
        help="change params.yaml first, as `dvc exp run -S` does",
    )
    parser.add_argument(
        "--cell", action="append", default=[], metavar="400-kd-0", help="only this cell, and what it needs"
    )
    parser.add_argument("--parallel", type=int, metavar="N", help="cells, and other stages, at a time (flows.parallel)")
    parser.add_argument("--runner", choices=["threads", "dask", "ray"], help="where cells run (flows.runner)")
    options = parser.parse_args(argv)
    if options.parallel is not None and options.parallel < 1:
        parser.error(f"--parallel {options.parallel}: expected 1 or more")
    with workspace_lock("distill"):
        if options.set_param:
            apply_overrides(options.set_param)
        load()
        runs.run_to_the_end(distill, cells=options.cell or None, parallel=options.parallel, runner=options.runner)


if __name__ == "__main__":
    run(main)
