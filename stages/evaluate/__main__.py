"""One cell's figures: `python -m stages.evaluate <budget> <method> <seed>`.

Reads students/<cell>/, the splits, the teacher's outputs that were bought, and transfer/; writes results/<cell>/.
The teacher is never called. The test split is read here and nowhere before.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stages.evaluate import metrics
from stages.evaluate.probe import linear_probe
from tuition.errors import UserError, run
from tuition.files import read_array, read_json, write_array, write_json
from tuition.inputs.preprocess import to_float
from tuition.inputs.views import Images, bought
from tuition.models import load_student, signals
from tuition.models.description import ModelDescription
from tuition.params import load
from tuition.tables import write_rows
from tuition.workspace import cell_name

SINGLE_REPEATS = 5  # a handful is enough for a median, and costs milliseconds


def main(argv: list[str]) -> None:
    budget, method, seed = _arguments(argv)
    settings = load().evaluate
    cell = cell_name(budget, method, seed)
    source, target = Path("students") / cell, Path("results") / cell
    device = _device()
    model, student = load_student(source)
    model = model.to(device).to(memory_format=torch.channels_last)  # a third to a half faster on CPU

    def answer(images: np.ndarray | Images) -> tuple[np.ndarray, list[float]]:
        logits, times = predict(model, images, None, student["mean"], student["std"], settings.batch_size, device)
        if not np.isfinite(logits).all():
            raise UserError(f"{source}: its logits are not finite: the training diverged; try a smaller train.lr")
        return logits, times

    def embed(images: np.ndarray) -> np.ndarray:
        mean, std = student["mean"], student["std"]
        return predict(
            lambda inputs: signals(model, inputs)["embedding"], images, None, mean, std, settings.batch_size, device
        )[0]

    val_images, val_labels = _split(Path("data"), "val", student)
    images, labels = _split(Path("data"), "test", student)
    val_logits, _ = answer(val_images)  # first: it warms up what the test batches are timed on
    logits, times = answer(images)
    _, single = zip(*(answer(images[:1]) for _ in range(SINGLE_REPEATS)), strict=True)

    figures = metrics.score(logits, labels, settings.bins)
    figures |= {"val_top1": metrics.top_k(val_logits, val_labels, 1), "val_nll": metrics.nll(val_logits, val_labels)}
    outputs = Path("outputs") / str(budget)
    if "logits" in read_json(outputs / "meta.json")["signals"]:  # a `python` teacher may give embeddings alone
        taught = read_array(outputs / "logits.npy")
        own, _ = answer(bought(read_array(Path("data/train/images.npy")), outputs))
        figures["agreement_with_teacher"] = metrics.agreement(own, taught)
        figures["top1_recentred"] = metrics.top_k(logits - metrics.offset(own, taught), labels, 1)
    figures |= metrics.retrieval_map(embed(images), labels)
    figures |= _transfer(embed, student, device)
    figures["parameters"] = sum(p.numel() for p in model.parameters())
    figures["size_bytes"] = (source / "weights.safetensors").stat().st_size

    recall, support = metrics.recalls(logits, labels)
    per_class = {"label": student["class_names"], "recall": recall, "support": support}
    latency = {
        "batch": min(settings.batch_size, len(logits)),
        "batch_ms": 1e3 * float(np.median(times)),
        "single_ms": 1e3 * float(np.median(single)),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
    }
    write_array(target / "logits.npy", logits)
    _write_columns(target / "per_class.csv", per_class)
    _write_columns(target / "reliability.csv", metrics.reliability(logits, labels, settings.bins))
    write_json(target / "latency.json", latency)
    write_json(target / "metrics.json", figures)


def predict(
    model: Callable[[torch.Tensor], torch.Tensor],
    images: np.ndarray | Images,
    rows: np.ndarray | None,
    mean: list[float],
    std: list[float],
    batch_size: int,
    device: torch.device,
) -> tuple[np.ndarray, list[float]]:
    """What `model` gives, logits float32 (n, C), of uint8 `images` (N, C', H, W) or of their `rows` (n,), and each full batch's seconds.

    The time is from host memory to host memory; where no batch is full, it is that of the only one.
    """
    rows = np.arange(len(images)) if rows is None else np.asarray(rows)
    parts: list[np.ndarray] = []
    times: list[float] = []
    with torch.inference_mode():
        for chunk in (rows[start : start + batch_size] for start in range(0, len(rows), batch_size)):
            batch = torch.from_numpy(images[chunk])  # indexing with an array copies, so the read-only file stays so
            begin = time.perf_counter()
            inputs = to_float(batch.to(device), mean, std).contiguous(memory_format=torch.channels_last)
            logits = model(inputs).float().cpu().numpy()
            if len(chunk) == batch_size or not times:
                times.append(time.perf_counter() - begin)
            parts.append(logits)
    return np.concatenate(parts), times


def _transfer(
    embed: Callable[[np.ndarray], np.ndarray], student: ModelDescription, device: torch.device
) -> dict[str, float]:
    """The linear probe's figures on transfer/; none where there is no transfer.source."""
    folder = Path("transfer")
    meta = read_json(folder / "meta.json")
    if meta["source"] is None:
        return {}
    found = {name: _split(folder, name, student) for name in ("train", "val", "test")}
    train, val, test = ((embed(images), labels) for images, labels in found.values())
    return linear_probe(train, val, test, len(meta["classes"]), device)


def _split(top: Path, name: str, student: ModelDescription) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one split. Raises UserError where it is empty or not of the student's kind."""
    folder = top / name
    images, labels = read_array(folder / "images.npy"), read_array(folder / "labels.npy")
    if not len(images):
        raise UserError(f"{folder}: no samples; give data.{name} a larger share")
    found, wanted = images.shape[1:], (student["channels"], student["height"], student["width"])
    if found != wanted:
        raise UserError(f"{folder}: images are {found}, the student was trained on {wanted}; run `dvc repro`")
    return images, np.asarray(labels)


def _write_columns(path: Path, columns: dict[str, Any]) -> None:
    rows = zip(*columns.values(), strict=True)
    write_rows(path, list(columns), (dict(zip(columns, row, strict=True)) for row in rows))


def _device() -> torch.device:
    """The GPU where there is one, in full float32 and with fixed algorithms, so that figures repeat."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda")


def _arguments(argv: list[str]) -> tuple[int, str, int]:
    try:
        budget, method, seed = argv
        return int(budget), method, int(seed)
    except ValueError:
        raise UserError(f"found {argv}; usage: python -m stages.evaluate <budget> <method> <seed>") from None


if __name__ == "__main__":
    run(main)
