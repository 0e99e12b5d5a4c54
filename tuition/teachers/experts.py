"""kind `experts`: several local checkpoints from small to large, of which one answers for each sample (CES-KD, arXiv 2209.07606).

Which one is decided before any is asked: by how hard the sample is for `teacher.free`, a network that cost no teacher call, or by one
of the controls. The equations of the paper were not readable [abs]; this is ours: a sample's difficulty δ in [0, 1) is the rank of
the free network's cross-entropy on its label among all samples of the pool, and expert ⌊δ · M⌋ of M answers.

`teacher.choose`: difficulty; anti (the largest expert takes the easiest); random (by a hash of the sample); mean, the mean of all
experts' logits, whose one answer has the price of M and should be given `teacher.price` accordingly.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.files import digest, read_array
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs
from tuition.params.teacher import CheckpointSettings, ExpertsSettings, Network
from tuition.teachers.checkpoint import CheckpointTeacher, load_checkpoint
from tuition.workspace import Split, Workspace

BATCH = 500


class ExpertsTeacher:
    """Answers with logits (B, C), the sample's difficulty (B, 1) and the number of the expert that answered (B, 1), M for all."""

    signals = families = ("logits", "difficulty", "expert")
    idempotent = True

    def __init__(
        self, experts: list[CheckpointTeacher], free: CheckpointTeacher, choose: str, pool: Split, inputs: Inputs
    ):
        self.experts, self.choose, self.inputs = experts, choose, inputs
        self.classes = experts[0].classes
        self.description = {
            "kind": "experts",
            "choose": choose,
            "free": free.description,
            "experts": [expert.description for expert in experts],
            "pool": digest(read_array(pool.ids), read_array(pool.labels)),  # difficulties are ranks in it
        }
        self.difficulty = difficulties(free, pool, inputs)

    def constants(self) -> dict[str, np.ndarray]:
        return {}

    def answer(self, inputs: np.ndarray, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
        names = [self.inputs.content_id(sample) for sample in inputs]
        strange = [name for name in names if name not in self.difficulty]
        if strange:
            raise UserError(
                f"teacher.kind: experts: {len(strange)} samples are not in data/train and have no difficulty; it cannot answer mixed inputs"
            )
        difficulty = np.array([self.difficulty[name] for name in names])
        expert = self._expert(names, difficulty)
        logits = np.zeros((len(inputs), self.classes), dtype=np.float32)
        for number, one in enumerate(self.experts):
            rows = np.flatnonzero((expert == number) | (expert == len(self.experts)))
            if len(rows):
                share = 1 / len(self.experts) if self.choose == "mean" else 1.0
                logits[rows] += share * one.answer(inputs[rows])["logits"]
        return {"logits": logits, "difficulty": difficulty[:, None], "expert": expert[:, None].astype(np.float32)}

    def _expert(self, names: list[str], difficulty: np.ndarray) -> np.ndarray:
        count = len(self.experts)
        if self.choose == "mean":
            return np.full(len(names), count)
        if self.choose == "random":
            return np.array([int(hashlib.sha256(f"expert/{name}".encode()).hexdigest(), 16) % count for name in names])
        of = difficulty if self.choose == "difficulty" else 1 - difficulty
        return np.minimum((of * count).astype(np.int64), count - 1)


def difficulties(free: CheckpointTeacher, pool: Split, inputs: Inputs) -> dict[str, float]:
    """By content id the share of the pool's samples that the free network finds easier: rank of its cross-entropy, in [0, 1)."""
    samples, labels, ids = inputs.read(pool.path), read_array(pool.labels), read_array(pool.ids)
    if lacking := int((labels < 0).sum()):
        raise UserError(
            f"teacher.kind: experts: the difficulty of a sample is read from its label, but {lacking:,} of {len(labels):,} samples of "
            "data/train have none; label them, or take another teacher"
        )
    losses = []
    for start in range(0, len(samples), BATCH):
        logits = free.answer(np.array(samples[start : start + BATCH]))["logits"].astype(np.float64)
        top = logits.max(1, keepdims=True)
        log_sum = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
        losses.append(log_sum - logits[np.arange(len(logits)), labels[start : start + BATCH]])
    rank = np.empty(len(samples))
    rank[np.argsort(np.concatenate(losses), kind="stable")] = np.arange(len(samples)) / len(samples)
    return {id.decode(): float(one) for id, one in zip(ids, rank, strict=True)}


def load_experts(settings: ExpertsSettings, facts: dict[str, Any]) -> ExpertsTeacher:
    """The experts of `teacher.experts` and the free network of `teacher.free`. Raises UserError as kind `checkpoint` does."""

    def network(model: Network) -> CheckpointTeacher:
        shared = {key: getattr(settings, key) for key in ("mean", "std", "resize", "precision", "classes")}
        return load_checkpoint(
            CheckpointSettings(arch=model.arch, weights=model.weights, signals=["logits"], **shared), facts
        )

    assert settings.free is not None  # the section sees to that
    experts = [network(model) for model in settings.experts]
    return ExpertsTeacher(
        experts, network(settings.free), settings.choose, Workspace().split("train"), inputs_of(facts)
    )
