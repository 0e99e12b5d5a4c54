"""What `make repro` prints at its end."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from stages.arrays import write_json
from stages.errors import UserError
from stages.evaluate import report
from stages.evaluate.summary import print_summary


def printed(root) -> str:
    out = StringIO()
    print_summary(root, Console(file=out, width=120))
    return out.getvalue()


def test_table_spend_and_places(make):
    root = make([100, 400], ["ce", "kd", "ckd-mse"], [0, 1, 2])
    write_json(root / "spend/800.json", {"budget": 800, "calls": 800, "new_calls": 800, "cost": 8.0, "usable": 800})
    report.main([])
    write_json(root / "report/registered.json", {
        "name": "tuition-mnist5k", "version": 3, "alias": "challenger", "cell": "400-kd-1", "reason": "best",
    })  # fmt: skip
    text = printed(root)
    for part in ("400 calls", "− kd", "ckd-mse", "±", "Spent: 400 teacher calls in all, cost 4.00; 250 new", "mlflow ui",
                 "report/report.md", "models:/tuition-mnist5k@challenger is version 3, cell 400-kd-1"):  # fmt: skip
        assert part in text
    assert "nan" not in text


def test_one_seed_without_baseline(make):
    root = make([100], ["ckd-mse"], [0])
    report.main([])
    text = printed(root)
    assert "nan" not in text
    assert "kd, points" not in text


def test_without_a_report(tmp_path):
    with pytest.raises(UserError, match=r"summary.csv: no such file"):
        print_summary(tmp_path)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("summary", {"torch", "numpy", "scipy", "pandas", "mlflow"}),
        ("report", {"torch", "scipy.stats", "pandas", "mlflow"}),
    ],
)
def test_imports_nothing_heavy(make, module, heavy):
    make([100], ["ce", "kd"], [0, 1])
    report.main([])
    code = f"import sys; from stages.evaluate import {module} as m; m.main([]); print(*sys.modules, file=sys.stderr)"
    path = {"PYTHONPATH": str(Path(report.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=path)
    assert not heavy & set(done.stderr.split())
