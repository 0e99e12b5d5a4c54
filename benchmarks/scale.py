"""A pool of a million: what each stage up to the estimate takes in seconds, memory and bytes on disk, through the product's own stages.

Samples are small images (8×8, so that a million fit beside their features), drawn about prototypes of their classes; features (N, 256) are
a random projection of the pixels, given as a file; the teacher is a function that knows the prototypes.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Home, home, save, table

SIDE = 8
TEACHER = """
import numpy as np

PROTOTYPES = np.load("prototypes.npy")  # (C, 64)


def scores(images, keys):
    pixels = images.reshape(len(images), -1).astype(np.float32) / 255
    return (-2 * ((pixels[:, None] - PROTOTYPES) ** 2).sum(2)).astype(np.float32)
"""
STAGES = (("prepare",), ("encode",), ("teach", "BUDGET"), ("estimate", "BUDGET"))
WRITTEN = {"prepare": "data", "encode": "features", "teach": "outputs", "estimate": "estimates"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--dimensions", type=int, default=256)
    parser.add_argument("--budget", type=int, default=1600)
    parser.add_argument("--estimator", default="ridge")
    args = parser.parse_args()
    with home() as place:
        folder = place.clone("scale", params(place, args))
        # In a process of its own: a child's peak of memory is at least what its parent held when it began.
        drawing = multiprocessing.get_context("spawn").Process(target=draw, args=(place.folder, folder, args))
        drawing.start()
        drawing.join()
        if drawing.exitcode:
            raise SystemExit(f"the pool was not drawn: exit code {drawing.exitcode}")
        rows = [run(place, folder, [str(args.budget) if one == "BUDGET" else one for one in stage]) for stage in STAGES]
    table(rows)
    save(f"scale_{args.samples}", " ".join(__doc__.split("\n\n")[0].split()), vars(args), {"rows": rows})


def params(place: Home, args: argparse.Namespace) -> dict[str, Any]:
    return {
        "study.budgets": [args.budget],
        "study.methods": ["kd"],
        "data.source": f"npz:{place.folder / 'pool.npz'}",
        "data.test": 1000 / args.samples,
        "data.val": 1000 / args.samples,
        "encode.source": f"file:{place.folder / 'features.npz'}",
        "estimate.estimator": args.estimator,
        "estimate.students": 0,
        "teacher.kind": "python",
        "teacher.function": "scaled:scores",
        "teacher.name": "prototypes",
    }


def draw(beside: Path, folder: Path, args: argparse.Namespace) -> None:
    """The pool, its features and the teacher."""
    rng = np.random.default_rng(0)
    prototypes = rng.random((args.classes, SIDE * SIDE), dtype=np.float32)
    labels = rng.integers(args.classes, size=args.samples)
    pixels = np.empty((args.samples, SIDE * SIDE), dtype=np.uint8)
    projection = rng.normal(size=(SIDE * SIDE, args.dimensions)).astype(np.float32)
    features = np.empty((args.samples, args.dimensions), dtype=np.float32)
    for start in range(0, args.samples, 50_000):
        rows = slice(start, start + 50_000)
        drawn = prototypes[labels[rows]] + rng.normal(0, 0.6, (len(labels[rows]), SIDE * SIDE)).astype(np.float32)
        pixels[rows] = (255 * drawn.clip(0, 1)).round()
        features[rows] = drawn @ projection
    images = pixels.reshape(-1, SIDE, SIDE, 1)
    np.savez(beside / "pool.npz", train_images=images, train_labels=labels)
    np.savez(beside / "features.npz", train=features)
    np.save(folder / "prototypes.npy", prototypes)
    (folder / "scaled.py").write_text(TEACHER)


def run(place: Home, folder: Path, stage: list[str]) -> dict[str, Any]:
    """One stage to its end: seconds, peak of resident memory, and what it wrote."""
    name, *arguments = stage
    command = [sys.executable, "-m", f"stages.{name}", *arguments]
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=folder, env=place.environment(folder))
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{name} ended with {os.waitstatus_to_exitcode(status)}")
    row = {"stage": name, "seconds": round(time.perf_counter() - begin, 1), "peak_gib": gib(used)}
    size = sum(path.stat().st_size for path in (folder / WRITTEN[name]).rglob("*") if path.is_file())
    return row | {"writes_mb": round(size / 1e6, 1)}


def gib(used: resource.struct_rusage) -> float:
    """The peak of resident memory; pages of mapped files count."""
    return round(used.ru_maxrss / 1024**2, 2)


if __name__ == "__main__":
    main()
