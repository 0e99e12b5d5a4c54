"""A whole finished study in a temporary folder: real files in the real formats, logits drawn with known quality."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.evaluate import metrics
from tuition.files import write_array, write_json
from tuition.tables import write_rows

CLASSES, SAMPLES = 10, 1000
SKILL = {"ce": 1.2, "kd": 1.4, "ckd-mse": 1.46, "ckd-kl": 1.38}  # how far the label's logit stands out


def make_study(
    root: Path,
    budgets: list[int],
    methods: list[str],
    seeds: list[int],
    teacher: float | None = 0.97,
    transfer: bool = False,
) -> Path:
    """Write params.yaml and everything that `stages.report` reads under `root`."""
    sections = "\n".join(f"  {m}: {{}}" for m in methods)
    (root / "params.yaml").write_text(
        f"study:\n  budgets: {budgets}\n  methods: {methods}\n  seeds: {seeds}\n"
        f"pretrain: {{steps: 10}}\ntrain: {{steps: 10}}\nmethods:\n{sections}\n"
    )
    labels = np.random.default_rng(0).integers(0, CLASSES, SAMPLES)
    write_array(root / "data/test/labels.npy", labels)
    write_json(
        root / "data/meta.json",
        {
            "source": "mnist5k",
            "classes": [str(c) for c in range(CLASSES)],
            "channels": 1,
            "height": 28,
            "width": 28,
            "splits": {"train": 3600, "val": 400, "test": SAMPLES},
            "rejected": 0,
        },
    )
    if teacher is not None:
        write_json(root / "teacher/meta.json", {"arch": "resnet14", "val_top1": teacher})
    for budget in budgets:
        write_json(root / f"outputs/{budget}/spend.json", {"calls": budget, "cost": budget * 0.01, "usable": budget})
        write_json(
            root / f"spend/{budget}.json",
            {
                "budget": budget,
                "calls": budget,
                "new_calls": budget // 2,
                "cost": budget * 0.01,
                "usable": budget,
            },
        )
        meta = {"teacher": {"name": "digits", "kind": "checkpoint"}, "budget": budget, "signals": ["logits"]}
        write_json(root / f"outputs/{budget}/meta.json", meta)
        for method in methods:
            for seed in seeds:
                write_cell(root, budget, method, seed, labels, transfer)
    return root


def write_cell(root: Path, budget: int, method: str, seed: int, labels: np.ndarray, transfer: bool) -> None:
    """One cell whose logits get better with the budget and the method's skill."""
    rng = np.random.default_rng([budget, list(SKILL).index(method), seed])
    logits = rng.normal(size=(len(labels), CLASSES)).astype(np.float32)
    logits[np.arange(len(labels)), labels] += SKILL[method] * np.log2(budget) / 4.0
    cell = f"{budget}-{method}-{seed}"
    write_array(root / f"results/{cell}/logits.npy", logits)
    figures = metrics.score(logits, labels, 15)
    figures |= {"val_top1": figures["top1"], "val_nll": figures["nll"], "parameters": 77850, "size_bytes": 320000}
    figures |= {"agreement_with_teacher": 0.9, "top1_recentred": figures["top1"]}
    if transfer:
        figures |= {"transfer_top1": 0.5 + 0.1 * seed, "transfer_l2": 0.01}
    write_json(root / f"results/{cell}/metrics.json", figures)
    write_per_class(root / f"results/{cell}", [str(one) for one in range(CLASSES)], logits, labels)
    settings = {"temperature": 4.0} if method == "kd" else {}
    compared = {"strategy": "in-batch", "k": 2} if method.startswith("ckd") else {"strategy": "none"}
    meta = {"budget": budget, "method": method, "seed": seed, "settings": {method: settings}, "comparisons": compared}
    write_json(root / f"students/{cell}/meta.json", meta | {"best_step": 10, "val_top1": figures["val_top1"]})


def write_per_class(results: Path, names: list[str], logits: np.ndarray, labels: np.ndarray) -> None:
    """The table that `evaluate` writes to results/<cell>/."""
    columns = {"label": names, **metrics.by_class(logits, labels)}
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    write_rows(results / "per_class.csv", list(columns), rows)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`make(budgets, methods, seeds)` writes a study to a fresh folder and works there."""
    monkeypatch.chdir(tmp_path)
    return lambda *args, **kwargs: make_study(tmp_path, *args, **kwargs)
