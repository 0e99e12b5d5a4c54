"""What `make repro` prints at its end."""

import re
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from stages.report import __main__ as report
from tuition.cli.study import print_summary
from tuition.errors import UserError
from tuition.files import read_json, write_json


def printed(root) -> str:
    out = StringIO()
    print_summary(root, Console(file=out, width=120))
    return out.getvalue()


def test_table_spend_and_places(make):
    root = make([100, 400], ["ce", "kd", "ckd-mse"], [0, 1, 2])
    write_json(root / "spend/800.json", {"budget": 800, "calls": 800, "new_calls": 800, "cost": 8.0, "usable": 800})
    report.main([])
    write_json(
        root / "report/registered.json",
        {
            "name": "tuition-mnist5k",
            "version": 3,
            "alias": "challenger",
            "cell": "400-kd-1",
            "reason": "best",
        },
    )
    text = printed(root)
    for part in (
        "400 calls",
        "− kd",
        "ckd-mse",
        "±",
        "Spent: 400 teacher calls in all, cost 4.00; 250 new",
        "mlflow ui",
        "report/report.md",
        "models:/tuition-mnist5k@challenger is version 3, cell 400-kd-1",
    ):
        assert part in text
    assert "nan" not in text


def test_what_an_earlier_study_registered_is_not_told_as_this_ones(make):
    root = make([100], ["ce", "kd"], [0])
    report.main([])
    found = {"name": "other", "version": 4, "alias": "challenger", "cell": "1-kd-0", "reason": "best"}
    write_json(root / "report/registered.json", found)
    assert "other" not in printed(root)


def test_a_version_that_is_not_to_be_had_here_is_told_so(make, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    root = make([100], ["ce", "kd"], [0])
    report.main([])
    found = {"name": "a", "version": 1, "alias": "champion", "cell": "100-kd-0", "reason": "first", "run_id": "ab"}
    write_json(root / "report/registered.json", found)
    said = " ".join(printed(root).split())
    assert "models:/a@champion is version 1" in said
    assert "But it is not to be had here: there is no mlflow.db" in said
    assert "`dvc repro -f -s register` registers its student here" in said


def test_mixed_inputs_are_on_the_bill(make):
    root = make([100], ["ce", "kd"], [0, 1, 2])
    for path in (root / "spend/100.json", root / "outputs/100/spend.json"):
        write_json(path, read_json(path) | {"mixed_calls": 50, "mixed_cost": 0.5})
    report.main([])
    assert "Spent: 150 teacher calls in all (50 for mixed inputs), cost 1.50" in printed(root)
    assert "| 100 | 100 | 50 | 1.50 | 100 |" in (root / "report/report.md").read_text()


def test_calls_without_an_answer_are_told_at_the_end(make):
    root = make([100], ["ce", "kd"], [0, 1, 2])
    further = {"teachers": {"small": {"calls": 100, "cost": 0.1, "usable": 99, "unusable_calls": 1}}}
    for path in (root / "spend/100.json", root / "outputs/100/spend.json"):
        write_json(path, read_json(path) | {"unknown_calls": 3} | further)
    report.main([])
    page = re.sub("</?code>", "`", (root / "report/report.html").read_text())
    for told in (printed(root), (root / "report/report.md").read_text(), page):
        assert "3 calls are unknown and count as spent: see `tuition ledger unknown`" in told
        assert "1 calls of teacher small gave nothing usable: see `tuition ledger calls --malformed`" in told


def test_transfer_has_a_column_where_there_is_one(make):
    root = make([100], ["ce", "kd"], [0, 1, 2])
    report.main([])
    assert "transfer" not in printed(root)
    make([100], ["ce", "kd"], [0, 1, 2], transfer=True)
    report.main([])
    assert "transfer" in printed(root)
    assert printed(root).count("60.00") == 2


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
        ("tuition.cli.study", {"torch", "numpy", "scipy", "pandas", "mlflow"}),
        ("stages.report.__main__", {"torch", "scipy.stats", "pandas", "mlflow"}),
    ],
)
def test_imports_nothing_heavy(make, module, heavy):
    make([100], ["ce", "kd"], [0, 1])
    report.main([])
    code = f"import sys, importlib; m = importlib.import_module({module!r}); m.main([]); print(*sys.modules, file=sys.stderr)"
    path = {"PYTHONPATH": str(Path(report.__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=path)
    assert not heavy & set(done.stderr.split())
