"""Claim: training and teaching go about as fast as bare loops of the same model over the same tensors.

Training (`tuition.training.loop.fit`, with loading and augmentation) against forward, backward, step on batches that are already
made. Teaching (`tuition.purchase.loop`, with a ledger on disk) against a bare batched loop. Blocks of both alternate in one process;
a ratio is of neighbouring blocks: ours over bare, in images a second.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks import bare
from benchmarks.common import save, spread, table
from tuition.comparisons import draw, group_weights
from tuition.inputs.images.batch import PlacedImages
from tuition.inputs.images.files import content_id
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.owned import Standing
from tuition.methods import build as build_method
from tuition.models import build
from tuition.params import Training
from tuition.params.teacher import teacher_settings
from tuition.purchase.account import open_account
from tuition.purchase.loop import buy
from tuition.teachers import InProcess
from tuition.teachers.checkpoint import CheckpointTeacher
from tuition.training.loader import Loader
from tuition.training.loop import Learner, fit, make_fabric

CASES = {  # name: method, k of its comparisons, whether they are stored
    "ce": ("ce", 0, False),
    "kd": ("kd", 0, False),
    "ckd-mse": ("ckd-mse", 2, False),
    "ckd-kl in-batch": ("ckd-kl", 3, False),
    "ckd-kl stored": ("ckd-kl", 3, True),
}
POOL, CLASSES = 4096, 10


@dataclass
class Case:
    """One method, architecture, image shape and batch size, ready to be run either way."""

    method: str
    arch: str
    shape: tuple[int, int, int]
    loader: Loader
    settings: Training

    @classmethod
    def make(cls, name: str, arch: str, shape: tuple[int, int, int], size: int, accelerator: str) -> "Case":
        method, k, stored = CASES[name]
        rng = np.random.default_rng(0)
        images = rng.integers(256, size=(POOL, *shape), dtype=np.uint8)  # speed does not depend on what is in them
        labels, logits = rng.integers(CLASSES, size=POOL), rng.normal(size=(POOL, CLASSES)).astype(np.float32)
        settings = Training(steps=1, batch_size=size, accelerator=accelerator)
        device = make_fabric(settings).device
        members = (
            torch.from_numpy(draw("random", k, 20_000, 0, logits, labels)[0]).long().to(device) if stored else None
        )
        loader = Loader(
            PlacedImages(
                torch.from_numpy(images).to(device),
                mean=[0.5] * shape[0],
                std=[0.25] * shape[0],
                crop=settings.crop,
                flip=settings.flip,
            ),
            torch.from_numpy(labels).to(device),
            {"logits": torch.from_numpy(logits).to(device)} if method != "ce" else {},
            batch_size=size,
            seed=0,
            members=members,
            weights=torch.from_numpy(group_weights(k)).float() if k else None,
        )
        return cls(method, arch, shape, loader, settings)

    def model(self) -> torch.nn.Module:
        torch.manual_seed(0)
        made = build(self.arch, channels=self.shape[0], classes=CLASSES, size=self.shape[1:])
        return made.to(self.loader.inputs.device).to(memory_format=torch.channels_last)

    def learner(self) -> Learner:
        return Learner(self.model(), build_method(self.method, bare.SETTINGS[self.method]))

    def ours(self, steps: int) -> float:
        """Seconds a step of `fit`: the first step warms up, the last one ends with a validation; neither is timed."""
        stamps = {}
        settings = self.settings.model_copy(update={"steps": steps + 2, "validate_every": steps + 2})

        def on_step(step: int) -> None:
            if step in (1, steps + 1):
                stamps[step] = bare.wait(self.loader.inputs.device)

        def no_validation(student: torch.nn.Module) -> dict[str, float]:
            return {"val_top1": 0.0, "val_loss": 0.0}

        fit(self.learner(), self.loader, no_validation, settings, make_fabric(settings), on_step=on_step)
        return (stamps[steps + 1] - stamps[1]) / steps

    def bare(self, steps: int) -> float:
        batches = [self.loader.batch(step) for step in range(steps + 1)]
        half = make_fabric(self.settings)._precision.precision == "bf16-mixed"
        return bare.train(self.model(), batches, bare.LOSSES[self.method], half)

    def check(self) -> None:
        """Both loops compute the same loss."""
        batch, learner = self.loader.batch(0), self.learner().to(self.loader.inputs.device)
        ours = sum(learner(batch).values())
        theirs = bare.LOSSES[self.method](self.model().train()(batch.inputs), batch)
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def training(args: argparse.Namespace) -> list[dict]:
    rows = []
    for shape in args.shapes:
        for arch in args.archs:
            for size in args.batches:
                for name in args.methods:
                    case = Case.make(name, arch, tuple(map(int, shape.split("x"))), size, args.accelerator)
                    case.check()
                    steps = max(3, round(args.seconds / case.bare(3)))
                    pairs = [(case.ours(steps), case.bare(steps)) for _ in range(args.pairs)]
                    what = {"what": f"train {name}", "arch": arch, "shape": shape, "batch": case.loader.batch_size}
                    rows.append(figures(what, [case.loader.batch_size / ours for ours, _ in pairs], pairs))
    return rows


def teaching(args: argparse.Namespace) -> list[dict]:
    rows = []
    for named in args.teachers:
        arch, _, size = named.rpartition("@")
        side, mean, std = int(size), 0.5, 0.25
        torch.manual_seed(0)
        model = build(arch, channels=3, classes=CLASSES, size=(side, side))
        description = {"kind": "checkpoint", "arch": arch, "mean": [mean], "std": [std], "resize": None}
        teacher = CheckpointTeacher(
            model,
            description,
            "32-true",
            CLASSES,
            ["logits", "embedding"],
            {"channels": 3, "height": side, "width": side},
        )
        images = np.random.default_rng(0).integers(256, size=(512, 3, side, side), dtype=np.uint8)
        bare.answer(model, torch.from_numpy(images), mean, std, 256)
        per_image = bare.answer(model, torch.from_numpy(images), mean, std, 256) / 512
        n = max(1, round(args.teacher_seconds / per_image / 256)) * 256
        images = np.random.default_rng(1).integers(256, size=(n, 3, side, side), dtype=np.uint8)
        pairs = []
        for _ in range(args.teacher_pairs):
            ours = teach(teacher, images, args.ledger_folder)
            pairs.append((ours, bare.answer(model, torch.from_numpy(images), mean, std, 256)))
        what = {"what": f"teach {n} images", "arch": arch, "shape": f"3x{side}x{side}", "batch": 256}
        rows.append(figures(what, [n / ours for ours, _ in pairs], pairs))
    return rows


def teach(teacher: CheckpointTeacher, images: np.ndarray, ledger_folder: str | None) -> float:
    """Seconds that buying all images takes, with a new ledger on disk."""
    requests = [Request(content_id(image)) for image in images]
    position = {request: i for i, request in enumerate(requests)}
    with tempfile.TemporaryDirectory(prefix="tuition-benchmark-", dir=ledger_folder) as folder:
        ledger = open_ledger(str(Path(folder) / "ledger.db"))
        account = open_account(ledger, InProcess(teacher), teacher_settings(batch_size=256), CLASSES, len(images))

        def images_of(some: Sequence[Request]) -> np.ndarray:
            return np.ascontiguousarray(images[[position[one] for one in some]])

        begin = bare.wait(teacher.device)
        sent = buy(account, requests, Standing(), images_of, lambda tally: None).new
        seconds = bare.wait(teacher.device) - begin
        ledger.close()
    assert sent == len(images)
    return seconds


def figures(what: dict, speed: list[float], pairs: list[tuple[float, float]]) -> dict:
    row = {**what, "images_per_second": spread(speed), "ratio": spread([theirs / ours for ours, theirs in pairs])}
    table(
        [
            {
                **what,
                "images/s": row["images_per_second"]["median"],
                **{k: row["ratio"][k] for k in ("median", "min", "max")},
            }
        ]
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="*", default=list(CASES), choices=list(CASES))
    parser.add_argument("--archs", nargs="*", default=["resnet8"])
    parser.add_argument("--shapes", nargs="*", default=["1x28x28"], help="channels x height x width")
    parser.add_argument("--batches", nargs="*", type=int, default=[64])
    parser.add_argument("--pairs", type=int, default=5, help="blocks of each kind")
    parser.add_argument("--seconds", type=float, default=0.3, help="of one block")
    parser.add_argument("--teachers", nargs="*", default=["resnet20@32"], help="architecture@pixels a side")
    parser.add_argument("--teacher-pairs", type=int, default=3)
    parser.add_argument("--teacher-seconds", type=float, default=1.0, help="of one block")
    parser.add_argument("--ledger-folder", help="where the ledgers are made; default: the temporary folder")
    parser.add_argument("--accelerator", default="cpu", choices=["cpu", "cuda", "auto"])
    args = parser.parse_args()
    rows = [*training(args), *teaching(args)]
    save("throughput", __doc__.strip().splitlines()[0], vars(args), rows)


if __name__ == "__main__":
    main()
