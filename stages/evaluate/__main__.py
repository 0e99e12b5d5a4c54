"""One cell's figures: `python -m stages.evaluate <budget> <method> <seed>`.

Reads students/<cell>/, the splits, the teacher's outputs that were bought, and transfer/; writes results/<cell>/.
The teacher is never called. The test split is read here and nowhere before.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from stages.evaluate import metrics
from stages.evaluate.language import evaluate_language
from stages.evaluate.probe import linear_probe
from stages.evaluate.retrieval import evaluate_retrieval
from tuition.errors import UserError, read_arguments, run
from tuition.files import read_array, read_json, write_array, write_json
from tuition.inputs.bought import Bought, read_bought
from tuition.inputs.kinds import inputs_of
from tuition.models import load_student, signals
from tuition.models.description import ModelDescription
from tuition.models.network import Network
from tuition.params import load
from tuition.tables import write_columns
from tuition.targets.classes import complete
from tuition.targets.truth import against, known_part, read_truth
from tuition.workspace import Model, Split, Splits, Workspace, cell_name

SINGLE_REPEATS = 5  # a handful is enough for a median, and costs milliseconds


@dataclass(frozen=True)
class Student:
    """A trained student where it answers, with what its description says of its inputs."""

    folder: Model
    network: Network
    description: ModelDescription
    batch_size: int
    device: torch.device

    @classmethod
    def of(cls, folder: Model, batch_size: int) -> "Student":
        network, description = load_student(folder.path)
        device = _device()
        network = network.to(device).to(memory_format=torch.channels_last)  # a third to a half faster on CPU
        return cls(folder, network, description, batch_size, device)

    def answer(self, samples: np.ndarray | Bought) -> tuple[np.ndarray, list[float]]:
        """Its logits, and each full batch's seconds. Raises UserError where they are not finite."""
        logits, times = self.predict(self.network, samples)
        if not np.isfinite(logits).all():
            raise UserError(f"{self.folder}: its logits are not finite: the training diverged; try a smaller train.lr")
        return logits, times

    def embed(self, samples: np.ndarray) -> np.ndarray:
        return self.predict(lambda inputs: signals(self.network, inputs)["embedding"], samples)[0]

    def predict(
        self, model: Callable[[torch.Tensor], torch.Tensor], samples: np.ndarray | Bought
    ) -> tuple[np.ndarray, list[float]]:
        return predict(model, samples, self.description, self.batch_size, self.device)


def main(argv: list[str]) -> None:
    budget, method, seed = read_arguments("stages.evaluate", argv, budget=int, method=str, seed=int)
    settings, workspace = load().evaluate, Workspace()
    cell = cell_name(budget, method, seed)
    if against(workspace) == "relevance":
        student = Student.of(workspace.student(cell), settings.batch_size)
        evaluate_retrieval(student, workspace.results(cell), budget, settings)
        return
    if against(workspace) == "references":
        evaluate_language(settings, cell, budget)
        return
    student, results = Student.of(workspace.student(cell), settings.batch_size), workspace.results(cell)
    val_labels, labels = (read_truth(workspace, split, budget) for split in ("val", "test"))
    val_samples, val_labels = known_part(_samples(workspace.split("val"), student.description), val_labels)
    samples = _samples(workspace.split("test"), student.description)
    val_logits, _ = student.answer(val_samples)  # first: it warms up what the test batches are timed on
    logits, times = student.answer(samples)
    _, single = zip(*(student.answer(samples[:1]) for _ in range(SINGLE_REPEATS)), strict=True)

    write_array(results.logits, logits)  # of every sample; figures are those of samples whose label is known
    every, labels = labels, labels[labels >= 0]
    logits = logits[every >= 0]
    figures: dict[str, float] = dict(metrics.score(logits, labels, settings.bins))
    figures |= {"val_top1": metrics.top_k(val_logits, val_labels, 1), "val_nll": metrics.nll(val_logits, val_labels)}
    figures |= _beside_the_teacher(student, workspace, budget, logits, labels)
    figures |= metrics.retrieval_map(student.embed(known_part(samples, every)[0]), labels)
    figures |= _transfer(student, workspace.transfer)
    figures["parameters"] = sum(p.numel() for p in student.network.parameters())
    figures["size_bytes"] = student.folder.weights.stat().st_size

    write_columns(results.per_class, {"label": student.description["class_names"], **metrics.by_class(logits, labels)})
    write_columns(results.reliability, metrics.reliability(logits, labels, settings.bins))
    write_json(results.latency, _latency(student, len(samples), times, single))
    held = against(workspace)
    write_json(results.metrics, figures | ({} if held == "labels" else {"against": held}))


def _beside_the_teacher(
    student: Student, workspace: Workspace, budget: int, logits: np.ndarray, labels: np.ndarray
) -> dict[str, float]:
    """How far the student agrees with the teacher on what was bought; none for a teacher that gives embeddings alone."""
    outputs = workspace.outputs(budget)
    given = read_json(outputs.meta)["signals"]
    if not {"logits", "label"} & set(given):
        return {}
    inputs = inputs_of(student.description)
    own, _ = student.answer(read_bought(inputs, inputs.read(workspace.split("train").path), outputs.path))
    if "logits" not in given:
        return {"agreement_with_teacher": float((own.argmax(1) == read_array(outputs.signal("label"))).mean())}
    taught = complete(read_array(outputs.signal("logits")))
    return {
        "agreement_with_teacher": metrics.agreement(own, taught),
        "top1_recentred": metrics.top_k(logits - metrics.offset(own, taught), labels, 1),
    }


def _latency(student: Student, count: int, times: Sequence[float], single: Sequence[list[float]]) -> dict[str, object]:
    return {
        "batch": min(student.batch_size, count),
        "batch_ms": 1e3 * float(np.median(times)),
        "single_ms": 1e3 * float(np.median(single)),
        "device": torch.cuda.get_device_name(student.device) if student.device.type == "cuda" else "cpu",
    }


def predict(
    model: Callable[[torch.Tensor], torch.Tensor],
    samples: np.ndarray | Bought,
    description: ModelDescription,
    batch_size: int,
    device: torch.device,
) -> tuple[np.ndarray, list[float]]:
    """What `model` gives, logits float32 (n, C), of stored samples (n, …), and each full batch's seconds.

    The time is from host memory to host memory; where no batch is full, it is that of the only one.
    """
    kind, rows = inputs_of(description), np.arange(len(samples))
    preprocessing = kind.preprocessing(description).to(device)
    parts: list[np.ndarray] = []
    times: list[float] = []
    with torch.inference_mode():
        for chunk in (rows[start : start + batch_size] for start in range(0, len(rows), batch_size)):
            some = samples[chunk]
            begin = time.perf_counter()
            batch = torch.from_numpy(kind.numbers(some, description))
            inputs = kind.arranged(preprocessing(batch.to(device)))
            logits = model(inputs).float().cpu().numpy()
            if len(chunk) == batch_size or not times:
                times.append(time.perf_counter() - begin)
            parts.append(logits)
    return np.concatenate(parts), times


def _transfer(student: Student, folder: Splits) -> dict[str, float]:
    """The linear probe's figures on transfer/; none where there is no transfer.source."""
    meta = read_json(folder.meta)
    if meta["source"] is None:
        return {}
    splits = {name: _split(folder.split(name), student.description) for name in ("train", "val", "test")}
    train, val, test = ((student.embed(samples), labels) for samples, labels in splits.values())
    return linear_probe(train, val, test, len(meta["classes"]), student.device)


def _split(split: Split, student: ModelDescription) -> tuple[np.ndarray, np.ndarray]:
    """The labelled samples of one split, and their labels. Raises UserError as `_samples` does."""
    return known_part(_samples(split, student), np.asarray(read_array(split.labels)))


def _samples(split: Split, student: ModelDescription) -> np.ndarray:
    """All samples of one split. Raises UserError where it is empty or not of the student's kind."""
    inputs = inputs_of(student)
    samples = inputs.read(split.path)
    if not len(samples):
        raise UserError(f"{split}: no samples; give data.{split.path.name} a larger share")
    shape, expected = samples.shape[1:], inputs.shape(student)
    if shape != expected:
        raise UserError(f"{split}: {inputs.NAME} are {shape}, the student was trained on {expected}; run `dvc repro`")
    return samples


def _device() -> torch.device:
    """The GPU where there is one, in full float32 and with fixed algorithms, so that figures repeat."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


if __name__ == "__main__":
    run(main)
