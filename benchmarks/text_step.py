"""A training step of `text-transformer` against that of transformers' own Trainer: the same network, batch size, texts and optimiser.

`uv run --with accelerate python -m benchmarks.text_step` (the Trainer needs accelerate, which nothing else here does). Both pad a batch to
its longest text. Measured is the second half of a training. Each pair is measured one after the other, so that a busy machine slows both;
`--clock cpu` counts the processor's time instead, with one thread: what others run beside it then counts less.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.common import save, spread, table
from tuition.inputs import texts
from tuition.methods import build
from tuition.models import make
from tuition.params import Data, Student, StudentTraining
from tuition.sources.wordnet import load_wordnet
from tuition.training import run
from tuition.training.data import TrainingSet

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    args = parser.parse_args()
    raw = load_wordnet("", Data(source="wordnet"))
    part = raw.parts["train"]
    own = texts.own(part.images, "bpe", Student())
    model = {"arch": "text-transformer", "inputs": "texts", "taps": [], "classes": len(raw.classes), **own}
    model["class_names"] = list(raw.classes)
    pairs = []
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(args.pairs):
            ours = steps_here(model, part.images, part.labels, args)
            theirs = steps_of_trainer(model, part.images, part.labels, args, Path(scratch))
            pairs.append({"ours": ours, "trainer": theirs, "ratio": ours / theirs})
            print(pairs[-1], flush=True)
    table(pairs)
    figures = {name: spread([pair[name] for pair in pairs]) for name in pairs[0]}
    print(f"median ratio {statistics.median(pair['ratio'] for pair in pairs):.3f}")
    save("text_step", __doc__.strip().splitlines()[0], vars(args), figures)


def steps_here(model: Any, samples: np.ndarray, labels: np.ndarray, args: argparse.Namespace) -> float:
    """Steps a second of the stage's own loop, with cross-entropy on the labels; a validation on 8 texts is within."""
    settings = StudentTraining(
        steps=args.steps,
        batch_size=args.batch_size,
        optimizer="adamw",
        lr=0.002,
        validate_every=args.steps // 2,
        checkpoint_every=args.steps,
        precision="32-true",
    )
    few = (samples[:8], labels[:8])
    times: list[float] = []
    learnt = TrainingSet(samples, labels)
    clock = CLOCKS[args.clock]
    objective = build("ce", None)
    run.train(
        "step", dict(model), objective, settings, 0, learnt, validation=few, on_row=lambda row: times.append(clock())
    )
    return (args.steps - args.steps // 2) / (times[-1] - times[0])


def steps_of_trainer(
    model: Any, samples: np.ndarray, labels: np.ndarray, args: argparse.Namespace, scratch: Path
) -> float:
    """Steps a second of transformers' Trainer."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    found, starts = texts.tuition_texts.tokens(samples, model)
    rows = [
        {"tokens": torch.from_numpy(found[starts[i] : starts[i + 1]]), "label": int(labels[i])}
        for i in range(len(samples))
    ]
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(CLOCKS[args.clock]())

    torch.manual_seed(0)
    settings = TrainingArguments(
        output_dir=str(scratch),
        max_steps=args.steps,
        per_device_train_batch_size=args.batch_size,
        learning_rate=0.002,
        lr_scheduler_type="cosine",
        optim="adamw_torch_fused",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    Trainer(
        model=WithLoss(make(model)),
        args=settings,
        train_dataset=rows,
        data_collator=padded,
        callbacks=[Clock()],  # type: ignore[arg-type]
    ).train()
    half = args.steps // 2
    return (args.steps - half) / (times[-1] - times[half - 1])


class WithLoss(nn.Module):
    """A network as the Trainer wants it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.network(tokens)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def padded(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    tokens = nn.utils.rnn.pad_sequence([row["tokens"] for row in rows], batch_first=True)
    return {"tokens": tokens, "labels": torch.tensor([row["label"] for row in rows])}


if __name__ == "__main__":
    main()
