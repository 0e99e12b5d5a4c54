"""Claim: a study's cells run two at a time within 1.15 × half their time one after another, a flow costs ≤ 3 s a cell, a no-op ≤ 15 s.

The cells are brought up to date by plain `dvc repro`, by the flow one cell at a time, and by the flow two at a time, each in a copy of
one workspace in which the teacher's answers are owned; every figure is of a whole command, with the start of Python, DVC and Prefect in it.
Report and register are timed apart. A Prefect server runs beside, as `make serve` has it. With --two-only nothing is done one after
another, for studies so large that this would take hours; one stage of a cell is timed by `dvc repro -s` there.
"""

import argparse
import shutil
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks import look
from benchmarks.common import COUNTING, home, save, set_params, spread, table
from benchmarks.servers import free_port, prefect_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--budgets", type=int, nargs="*", default=[100, 400])
    parser.add_argument("--methods", nargs="*", default=["ce", "kd", "ckd-mse"])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--threads", type=int, help="of each training; default: as torch has it")
    parser.add_argument("--two-only", action="store_true", help="large studies: by the flow two at a time alone")
    parser.add_argument("--look", type=Path, metavar="FOLDER", help="pictures of the run and artifact (needs Chromium)")
    args = parser.parse_args()
    if args.look:  # before the minutes that are lost without it
        args.look.mkdir(parents=True, exist_ok=True)
        look.program()
    study = {
        **COUNTING,
        "study.budgets": args.budgets,
        "study.methods": args.methods,
        "study.seeds": list(range(args.seeds)),
        "train.steps": args.steps,
        "train.validate_every": args.steps,
    }
    cells = len(args.budgets) * len(args.methods) * args.seeds
    names = [f"{b}-{m}-{s}" for b in args.budgets for m in args.methods for s in range(args.seeds)]
    only = [word for name in names for word in ("--cell", name)]
    found: dict[str, list[float]] = {}
    with home() as place, ExitStack() as stack:
        more = {"PREFECT_HOME": str(place.folder / "prefect")}
        if args.threads:
            more["OMP_NUM_THREADS"] = str(args.threads)
        base, port = place.clone("base", study), free_port()
        stack.enter_context(prefect_server({**place.environment(base), **more}, port, ui=args.look is not None))
        more["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
        place.repro(base, "transfer", "pretrain", "compare")

        def timed(name: str, folder: str, *command: str, parallel: int = 1) -> None:
            where = place.folder / folder
            if not where.exists():
                shutil.copytree(base, where, symlinks=True)
                set_params(where, {"flows.parallel": parallel})
            begin = time.perf_counter()
            place.run(where, *command, **more)
            found.setdefault(name, []).append(time.perf_counter() - begin)
            print(f"{name}: {found[name][-1]:.1f} s", flush=True)

        for run in range(args.runs):
            plain, one, two = f"plain-{run}", f"one-{run}", f"two-{run}"
            timed("flow, two at a time: cells", two, "flows.distill", *only, parallel=2)
            if args.look:
                with look.browser() as page:
                    look.run(page, more["PREFECT_API_URL"], args.look / f"prefect_run_{cells}.png")
            timed("flow, two at a time: report, register", two, "flows.distill")
            if args.look:
                with look.browser() as page:
                    look.artifact(page, more["PREFECT_API_URL"], args.look / f"prefect_artifact_{cells}.png")
            if not args.two_only:
                timed("dvc repro: cells", plain, "dvc", "repro", "evaluate")
                timed("dvc repro: report, register", plain, "dvc", "repro")
                timed("flow, one at a time: cells", one, "flows.distill", *only)
            for _ in range(3):
                timed("dvc repro: nothing to do", two, "dvc", "repro")
                timed("flow: nothing to do", two, "flows.distill")
            if args.two_only:
                last = [str(args.budgets[-1]), args.methods[-1], str(args.seeds - 1)]
                stage = f"evaluate@{'-'.join(last)}"
                timed("dvc repro --single-item of what is up to date", two, "dvc", "repro", "-s", stage)
                timed("one stage by dvc repro --single-item", two, "dvc", "repro", "-f", "-s", stage)
                timed("the same stage without DVC", two, "stages.evaluate", *last)
            for name in (plain, one):
                shutil.rmtree(place.folder / name, ignore_errors=True)
    figures = {name: spread(values) for name, values in found.items()}
    table([{"what": name, **{key: one[key] for key in ("n", "median", "min", "max")}} for name, one in figures.items()])
    told = {"cells": cells}
    if not args.two_only:
        plain_, one_, two_ = (
            found[f"{name}: cells"] for name in ("dvc repro", "flow, one at a time", "flow, two at a time")
        )
        told |= {
            "two_at_a_time_of_half_the_sum": spread(
                [two / (plain / 2) for two, plain in zip(two_, plain_, strict=True)]
            ),
            "seconds_a_cell_over_dvc_repro": spread(
                [(one - plain) / cells for one, plain in zip(one_, plain_, strict=True)]
            ),
        }
    print(told)
    save(
        f"flow_speed_{cells}",
        __doc__.strip().splitlines()[0],
        {**vars(args), "look": args.look and str(args.look)},
        {**told, "seconds": figures},
    )


if __name__ == "__main__":
    main()
