from pathlib import Path

import pytest
from support.small_study import make_study

from stages.register.choose import best_cell
from tuition.errors import UserError
from tuition.files import write_json


def results(cell: str, val_top1: float, val_nll: float, top1: float = 0.5) -> None:
    write_json(Path("results", cell, "metrics.json"), {"val_top1": val_top1, "val_nll": val_nll, "top1": top1})


def test_validation_decides_then_its_loss_then_the_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    params = make_study(tmp_path, budgets=(100, 400), methods=("ce", "kd"))
    results("100-ce-0", 0.8, 0.5, top1=0.99)  # the test split has no say
    results("400-ce-0", 0.9, 0.3)
    results("100-kd-0", 0.9, 0.2)
    with pytest.raises(UserError, match=r"no metrics.json for 400-kd-0 \(1 cells\)"):
        best_cell(params)
    results("400-kd-0", 0.9, 0.2)
    assert best_cell(params)["cell"] == "100-kd-0"
    assert best_cell(params)["calls"] == 100
    results("400-kd-0", 0.9, 0.1)
    assert best_cell(params)["cell"] == "400-kd-0"
    results("400-ce-0", 0.91, 2.0)
    assert best_cell(params)["cell"] == "400-ce-0"
