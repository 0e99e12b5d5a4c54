"""Claim: `train` may be killed (kill -9) at any step; `dvc repro` then gives the same student, bit for bit, as if nothing had happened.

Steps are drawn uniformly from the whole run. Every second kill takes `dvc` down too.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from benchmarks.common import COUNTING, Home, home, save, table
from tuition.methods import METHODS


def train_process(repro: psutil.Popen) -> psutil.Process | None:
    """The training that `dvc repro` started, once it is there."""
    try:
        for child in repro.children(recursive=True):
            command = child.cmdline()
            if "stages.train" in command and "python" in Path(command[0]).name:
                return child
    except psutil.NoSuchProcess:
        pass
    return None


def kill_at(place: Home, folder: Path, cell: str, step: int, speed: dict, whole_tree: bool) -> tuple[bool, str]:
    """`dvc repro` of one cell, killed when it should be at `step`; returns (whether it was killed, what it printed)."""
    log = place.folder / "repro.log"
    with log.open("w") as file:
        repro = psutil.Popen(
            [sys.executable, "-m", "dvc", "repro", f"train@{cell}"],
            cwd=folder,
            env=place.environment(folder),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    training = None
    while training is None and repro.poll() is None:
        training = train_process(repro)
        time.sleep(0.005)
    killed = False
    if training:
        seen, since = 0, training.create_time() + speed["startup_seconds"]  # the step last heard of, and when
        while repro.poll() is None:
            heard = last_step(log.read_text())
            if heard > seen:
                seen, since = heard, max(since, time.time())
            if seen + max(0.0, time.time() - since) * speed["steps_per_second"] >= step:
                killed = kill(training, repro if whole_tree else None)
                break
            time.sleep(0.005)
    repro.wait()
    return killed, log.read_text()


def kill(training: psutil.Process, repro: psutil.Popen | None) -> bool:
    """kill -9; False where the training had just ended by itself."""
    try:
        if repro:
            repro.kill()
        training.kill()
    except psutil.NoSuchProcess:
        return False
    return True


def last_step(text: str) -> int:
    """The step that the training last told of: resumed at, or validated."""
    return max([0, *(int(found) for found in re.findall(r"(?:resuming at step|: step) (\d+)", text))])


def resumed_at(text: str) -> int:
    """The step that a run started from."""
    match = re.search(r"resuming at step (\d+)", text)
    return int(match[1]) if match else 0


def student(folder: Path, cell: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "students" / cell).iterdir())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="*", default=["kd"], choices=list(METHODS))
    parser.add_argument("--kills", type=int, default=2, help="of each method")
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--every", type=int, default=20, help="steps between validations, and between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    changes = {
        **COUNTING,
        "study.budgets": [args.budget],
        "study.methods": args.methods,
        "study.seeds": [0],
        "train.steps": args.steps,
        "train.validate_every": args.every,
        "train.checkpoint_every": args.every,
    }
    rows = []
    with home() as place:
        calm, folder = place.clone("calm", changes), place.clone("killed", changes)
        for method in args.methods:
            cell = f"{args.budget}-{method}-0"
            place.repro(calm, f"train@{cell}")
            place.repro(folder, f"compare@{args.budget}")
            speed = json.loads((calm / f"speed/{cell}.json").read_text())
            steps = sorted(rng.randrange(1, args.steps) for _ in range(args.kills))
            killed, resumed, same = 0, [], []
            while killed < args.kills:
                done, text = kill_at(place, folder, cell, steps[killed], speed, whole_tree=bool(killed % 2))
                killed, resumed = killed + done, [*resumed, resumed_at(text)]
                if (
                    not done
                ):  # it was faster than its step was waited for: that is a result too, and then again from the start
                    same.append(student(folder, cell) == student(calm, cell))
                    shutil.rmtree(folder)
                    folder = place.clone("killed", changes)
                    place.repro(folder, f"compare@{args.budget}")
            resumed.append(resumed_at(place.repro(folder, f"train@{cell}")))
            one, other = student(calm, cell), student(folder, cell)
            rows.append(
                {
                    "method": method,
                    "kills": killed,
                    "at_steps": steps,
                    "started_from": resumed,
                    "weights_identical": one["weights.safetensors"] == other["weights.safetensors"],
                    "all_files_identical": one == other and all(same),
                }
            )
    table(rows)
    save("kill_train", __doc__.strip().splitlines()[0], vars(args), rows)
    assert all(row["weights_identical"] for row in rows)


if __name__ == "__main__":
    main()
