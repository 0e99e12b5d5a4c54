"""The step of every method against `ce`'s, same student and batch: training steps as the train stage takes them, on made-up data.

Blocks of `ce` and of the method take turns in one process; a ratio is of two neighbouring blocks. Banks are full: 16,384 rows.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from benchmarks.common import save, spread, table
from benchmarks.methods import SETS, SHIPPED, VARIANTS, chosen
from tuition.comparisons import group_weights
from tuition.inputs.images.batch import PlacedImages
from tuition.methods import Context, build, card, resolve
from tuition.methods.objective import Objective
from tuition.models import make
from tuition.params import Training
from tuition.signals import LAYERED, stored_type
from tuition.training.loader import Loader
from tuition.training.loop import Learner, make_fabric, make_optimizer
from tuition.training.networks import of, shapes

CLASSES, WIDTH, STAGES = 100, 64, ((16, 32), (32, 16), (64, 8))  # the teacher's: channels and side of each stage
MODEL = {"channels": 3, "height": 32, "width": 32, "classes": CLASSES, "mean": [0.5] * 3, "std": [0.25] * 3, "taps": []}


def signal(family: str, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Made-up values (n, …) of a family, of the shapes that a resnet for small images gives."""
    per_stage = {
        "pooled": [(c,) for c, _ in STAGES],
        "energy": [(s, s) for _, s in STAGES],
        "map": [(c, s, s) for c, s in STAGES],
        "preact": [(c, s, s) for c, s in STAGES],
        "flow": [(16, 16), (16, 32), (32, 64)],
        "sign": [(c // 8, s, s) for c, s in STAGES],
    }
    if family in LAYERED:
        named = {f"{family}{i}": shape for i, shape in enumerate(per_stage[family], start=1)}
    elif family == "boundary":
        named = {"supporting": (3, 32, 32), "supporting_logits": (CLASSES,)}
    else:
        named = {family: {"embedding": (WIDTH,), "features": (WIDTH, *2 * (STAGES[-1][1],))}.get(family, (CLASSES,))}
    made = {}
    for name, shape in named.items():
        kind = stored_type(name)
        drawn = (
            rng.integers(0, 256, (n, *shape))
            if kind is np.uint8
            else rng.normal(size=(n, *shape)).clip(0 if family in ("map", "features") else -9)
        )
        made[name] = drawn.astype(kind)
    return made


def prepare(name: str, arch: str, batch_size: int) -> Any:
    """A function that takes `count` training steps of the method."""
    section = VARIANTS.get(name, SHIPPED.get(name, {}))
    about, objective = card(resolve(name, section).method), build(name, section)
    n = (
        17_000
        if not set(objective.signals) & {"map", "preact", "flow", "features", "sign", "energy", "boundary"}
        else 1_000
    )
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), rng.integers(0, CLASSES, n)
    arrays: dict[str, np.ndarray] = {}
    constants = {}
    for family in objective.signals:
        if family == "classifier":
            constants = {"classifier_weight": torch.randn(CLASSES, WIDTH), "classifier_bias": torch.zeros(CLASSES)}
        else:
            arrays |= signal(family, n, rng)
    if name == "simkd":  # its teacher's embedding is the average of its last map
        arrays["embedding"] = arrays["features"].astype(np.float32).mean((2, 3)).astype(np.float16)
    chosen_set = SETS.get(name, SETS.get(resolve(name, section).method)) if about.compares else None
    weights = None if chosen_set is None else torch.tensor(group_weights(chosen_set["k"]), dtype=torch.float32)
    members = None
    if chosen_set and chosen_set["strategy"] != "in-batch":
        members = torch.from_numpy(rng.integers(0, n, (20_000, chosen_set["k"])))
    loader = Loader(
        PlacedImages(torch.from_numpy(images), mean=MODEL["mean"], std=MODEL["std"], crop=4, flip=True),
        torch.from_numpy(labels),
        {k: torch.from_numpy(v) for k, v in arrays.items()},
        batch_size=batch_size,
        seed=0,
        members=members,
        weights=weights,
    )
    settings = Training(steps=10_000, batch_size=batch_size, lr=1e-4)
    model: dict[str, Any] = {**MODEL, "arch": arch}
    torch.manual_seed(0)
    student = make(model)
    mixed = {
        "inputs": torch.from_numpy(images[:500]),
        "logits": torch.randn(500, CLASSES),
        "lam": torch.rand(500),
        "first": torch.arange(500),
        "second": torch.arange(500).flip(0),
    }
    objective.setup(
        Context(
            student=shapes(student, model, objective.maps, objective.inside),
            teacher=loader.teacher,
            labels=loader.labels,
            classes=CLASSES,
            steps=settings.steps,
            per_epoch=loader.per_epoch,
            seed=0,
            inputs=loader.inputs.stored,
            normalise=loader.inputs.normalise,
            make_student=lambda other=None: make(of(model, other)),
            student_model=student,
            constants=constants,
            mixed=mixed,
        )
    )
    learner = Learner(objective.wrap(student), objective)
    return _stepper(learner, objective, loader, settings)


def _stepper(learner: Learner, objective: Objective, loader: Loader, settings: Training) -> Any:
    learner.student.to(memory_format=torch.channels_last)
    fabric = make_fabric(settings)
    module, optimizer = fabric.setup(learner, make_optimizer(learner, settings))
    at = iter(range(settings.steps))

    def run(count: int) -> float:
        """Seconds a step, an image's share of the batch made equal: groups may not fill a batch."""
        begin = time.perf_counter()
        for _ in range(count):
            terms = module(loader.batch(next(at)))
            fabric.backward(torch.stack(list(terms.values())).sum())
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - begin) / count * settings.batch_size / loader.batch_size

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="resnet20")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--steps", type=int, default=5, help="of a block")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--name", default="step_time")
    args = parser.parse_args()
    base = prepare("ce", args.arch, args.batch_size)
    base(3)
    rows, figures = [], {}
    for name in chosen(args.only):
        if name == "ce":
            continue
        ours = prepare(name, args.arch, args.batch_size)
        ours(3)
        pairs = [(base(args.steps), ours(args.steps)) for _ in range(args.pairs)]
        ratios = [ours / ce for ce, ours in pairs]
        figures[name] = spread(ratios)
        rows.append(
            {
                "method": name,
                "ratio": statistics.median(ratios),
                "min": min(ratios),
                "max": max(ratios),
                "ce_ms": 1000 * statistics.median(ce for ce, _ in pairs),
            }
        )
        print(rows[-1], flush=True)
    table(rows)
    save(args.name, __doc__.strip().splitlines()[0], vars(args) | {"threads": torch.get_num_threads()}, figures)


if __name__ == "__main__":
    main()
