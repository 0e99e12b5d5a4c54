"""The report of a complete small study: its files, its words, its bytes."""

import csv
import hashlib
import json
import subprocess
import sys
from math import nan
from pathlib import Path

import pytest

from stages.report import __main__ as report
from stages.report import text
from tuition.errors import UserError
from tuition.files import write_json

FILES = {
    *("cells.csv", "summary.csv", "paired.csv", "curve.csv", "metrics.json", "report.md", "report.html"),
    *("accuracy.svg", "accuracy.png", "paired.svg", "paired.png"),
}


def read(name: str) -> list[dict[str, str]]:
    with Path("report", name).open() as file:
        return list(csv.DictReader(file))


def test_a_whole_study(make):
    make([100, 400], ["ce", "kd", "ckd-mse"], [0, 1, 2])
    report.main([])
    assert {p.name for p in Path("report").iterdir()} == FILES
    assert len(read("cells.csv")) == 18
    assert [r["calls"] for r in read("curve.csv")] == ["100"] * 3 + ["400"] * 3
    nested = json.loads(Path("report/metrics.json").read_text())
    assert nested["spend"]["400"] == {"calls": 400, "cost": 4.0}
    row = next(r for r in read("summary.csv") if (r["budget"], r["method"]) == ("400", "kd"))
    assert nested["400"]["kd"]["top1"] == pytest.approx(float(row["top1"]), abs=1e-5)
    assert nested["400"]["kd"]["low"] < nested["400"]["kd"]["top1"] < nested["400"]["kd"]["high"]
    words = Path("report/report.md").read_text()
    for part in (
        "What 400 calls bought",
        "`kd` (temperature 4.0)",
        "in-batch comparisons, k 2",
        "accuracy.svg",
        "validation top-1 97.00 %",
        "| 400 | 400 | 4.00 | 400 |",
        "models:/tuition@challenger",
    ):
        assert part in words
    assert "nan" not in words


def test_the_same_study_gives_the_same_bytes(make):
    root = make([100, 400], ["ce", "kd", "ckd-mse"], [0, 1])

    def digests() -> dict[str, str]:
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in Path("report").iterdir()}

    report.main([])
    first = digests()
    command = [sys.executable, "-m", "stages.report"]
    repository = Path(report.__file__).parents[2]
    subprocess.run(
        command, cwd=root, check=True, env={"PYTHONPATH": str(repository), "TZ": "Asia/Tokyo", "HOME": str(root)}
    )
    assert digests() == first


def test_one_cell(make):
    make([50], ["kd"], [0], teacher=None)
    report.main([])
    assert {p.name for p in Path("report").iterdir()} == FILES
    assert read("summary.csv")[0]["low"] == "nan"
    assert read("paired.csv") == []
    assert set(json.loads(Path("report/metrics.json").read_text())["50"]["kd"]) == {"top1"}
    words = Path("report/report.md").read_text()
    assert "no baseline" in words
    assert "at most 50 calls" in words
    assert "nan" not in words


def test_one_seed_shows_no_difference(make):
    make([100, 200, 400], ["ce", "kd", "ckd-mse", "ckd-kl"], [7])
    report.main([])
    words = Path("report/report.md").read_text()
    assert words.count("One seed has no interval") == 3 * (3 + 2)
    assert "nan" not in words


def test_many_differences_make_a_table(make):
    make([100, 200, 400, 800, 1600], ["ce", "kd", "ckd-mse", "ckd-kl"], [0, 1, 2])
    report.main([])
    words = Path("report/report.md").read_text()
    lines = [line for line in words.splitlines() if line.startswith("| 1600 | `ckd-mse` | `kd` |")]
    assert len(lines) == 1
    found = next(
        r for r in read("paired.csv") if (r["budget"], r["method"], r["baseline"]) == ("1600", "ckd-mse", "kd")
    )
    verdict = "**better**" if float(found["low"]) > 0 else "**worse**" if float(found["high"]) < 0 else "not shown"
    assert lines[0].endswith(f"{verdict} |")
    assert f"{float(found['difference']):+.2f}".replace("-", "−") in lines[0]
    assert "make a wide interval" not in words


def test_transfer_is_a_column_only_where_there_is_one(make):
    root = make([100], ["ce", "kd"], [0, 1, 2])
    report.main([])
    assert "ransfer" not in Path("report/report.md").read_text()
    assert "transfer_top1" not in {*read("summary.csv")[0], *read("cells.csv")[0]}
    make([100], ["ce", "kd"], [0, 1, 2], transfer=True)
    report.main([])
    assert [float(r["transfer_top1"]) for r in read("cells.csv")[:3]] == [0.5, 0.6, 0.7]
    assert [float(r["transfer_top1"]) for r in read("summary.csv")] == pytest.approx([0.6, 0.6])
    assert json.loads((root / "report/metrics.json").read_text())["100"]["kd"]["transfer_top1"] == pytest.approx(0.6)
    lines = Path("report/report.md").read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("| calls"))
    assert lines[head].endswith("| cost | transfer top-1 % |")
    assert lines[head + 2].endswith(" 60.00 |")
    assert len({line.count("|") for line in lines[head : head + 4]}) == 1


def test_altered_labels_are_told(make):
    root = make([100], ["ce", "kd"], [0, 1])
    meta = json.loads((root / "data/meta.json").read_text())
    done = {"noise": 0.2, "imbalance": 10.0, "flipped": 281, "classes_after": [360, 100, 36]}
    write_json(root / "data/meta.json", meta | {"altered": done})
    report.main([])
    words = Path("report/report.md").read_text()
    assert "replaced at random: 281 (noise 0.2); samples a class from 360 down to 36 (imbalance 10)" in words


def test_no_baseline_in_the_study(make):
    make([100, 400], ["ckd-mse", "ckd-kl"], [0, 1])
    report.main([])
    assert "Not asked" in Path("report/report.md").read_text()


def test_removed_cells_are_ignored_and_missing_ones_named(make):
    root = make([100, 400], ["ce", "kd"], [0, 1])
    make([100], ["ce", "kd"], [0, 1])  # the study has shrunk; results/400-* are still there
    report.main([])
    assert {r["budget"] for r in read("cells.csv")} == {"100"}
    (root / "results/100-ce-0/metrics.json").unlink()
    with pytest.raises(UserError, match="100-ce-0"):
        report.main([])


def row(**changed) -> dict:
    known = {"budget": 400, "method": "ckd-mse", "baseline": "kd", "n": 5, "difference": 1.5, "low": 0.5, "high": 2.5}
    return known | {"p": 0.012, "wins": 30, "losses": 12} | changed


@pytest.mark.parametrize(
    ("changed", "said", "unsaid"),
    [
        ({}, "is **better** than `kd` by 1.50 points (95 % interval +0.50 to +2.50; p = 0.012, 5 seeds)", "wide"),
        (
            {"difference": -1.5, "low": -2.5, "high": -0.5},
            "is **worse** than `kd` by 1.50 points (95 % interval −2.50",
            "no",
        ),
        (
            {"n": 2, "low": -9.0, "high": 12.0},
            "no difference is shown (+1.50 points, 95 % interval −9.00 to +12.00",
            "**",
        ),
        ({"n": 2, "low": -9.0, "high": 12.0}, "2 seeds make a wide interval", "**"),
        ({"n": 9, "low": -0.1, "high": 3.1}, "no difference is shown", "wide"),
        ({"n": 1, "low": nan, "high": nan, "p": nan}, "One seed has no interval, so no difference is shown", "nan"),
        ({"n": 3, "low": nan, "high": nan, "p": nan}, "+1.50 points in each of 3 seeds", "nan"),
        ({}, "only one of them has right: 30 to 12", "nan"),
    ],
)
def test_a_difference_in_words(changed, said, unsaid):
    sentence = text.difference(row(**changed))
    assert said in sentence
    assert unsaid not in sentence
