"""`tuition/workspace.py`: the paths that DVC's pipeline and the README promise."""

import ast
import re
from pathlib import Path

from tuition.workspace import PURCHASED, Workspace, budget_of, cell_name

ROOT = Path(__file__).parents[1]


def test_paths_are_those_of_the_pipeline():
    """Every folder and file that dvc.yaml names as an output is one that the workspace spells, and so it is spelt here."""
    here, cell = Workspace(), cell_name("${item.budget}", "${item.method}", "${item.seed}")
    budget = "${item.budget}"
    spelt = {
        str(path)
        for path in (
            here.data,
            here.transfer,
            here.encoded,
            here.teacher,
            here.outputs(budget),
            here.spend(budget),
            here.estimates(budget).path,
            here.comparisons_of(budget),
            here.student(cell),
            here.speed(cell),
            *(
                getattr(here.results(cell), name)
                for name in ("logits", "metrics", "latency", "reliability", "per_class")
            ),
            *(
                getattr(here.report, name)
                for name in ("text", "page", "cells", "summary", "paired", "curve", "metrics", "registered")
            ),
            *(
                path.with_suffix(suffix)
                for path in (here.report.accuracy_picture, here.report.paired_picture)
                for suffix in (".png", ".svg")
            ),
        )
    }
    outs = re.findall(
        r"^    (?:outs|metrics|plots):(.*?)(?=^    \w|^  \w|\Z)", (ROOT / "dvc.yaml").read_text(), re.M | re.S
    )
    named = {text.strip("'\"") for block in outs for text in re.findall(r"(?:- |\[)('[^']+'|[\w/.]+)", block)}
    assert named == spelt


def test_a_workspace_elsewhere_and_the_current_one():
    assert Workspace().split("train").images == Path("data/train/images.npy")
    assert Workspace(Path("/w")).outputs(400).signal("logits") == Path("/w/outputs/400/logits.npy")
    assert Workspace(Path("/w")).outputs(400).mixed.lam == Path("/w/outputs/400/mixed/lam.npy")
    assert Workspace().student("400-kd-0").weights == Path("students/400-kd-0/weights.safetensors")
    assert Workspace().comparisons(400, "kd").meta == Path("comparisons/400/kd/meta.json")
    assert Workspace().home.training_states == Path(".tuition/checkpoints")
    assert str(Workspace().outputs(400)) == "outputs/400"
    assert budget_of(cell_name(400, "ckd-mse+kd", 0)) == "400"
    assert Path(Workspace().results("c").path).parts[0] in PURCHASED


def test_exports_are_those_with_a_description(tmp_path):
    for folder in ("100", "100/mixed", "100/teachers/b", "100/teachers/a", "400"):
        (tmp_path / "outputs" / folder).mkdir(parents=True)
        (tmp_path / "outputs" / folder / "meta.json").touch()
    (tmp_path / "outputs/800").mkdir()
    (tmp_path / "outputs/100/teachers/c").mkdir()
    workspace = Workspace(tmp_path)
    found = [str(export.path.relative_to(tmp_path / "outputs")) for export in workspace.exports()]
    assert found == ["100", "100/teachers/a", "100/teachers/b", "400"]
    assert [export.path.name for export in workspace.outputs(100).further()] == ["a", "b"]
    assert workspace.outputs(400).further() == []


FOLDERS = {
    "data",
    "transfer",
    "features",
    "teacher",
    "outputs",
    "estimates",
    "comparisons",
    "students",
    "results",
    "report",
    "refresh",
    ".tuition",
}
NAMES = re.compile(
    r"(meta|spend|student|metrics|latency|registered|plan|result|taken|taking)\.json|mlflow\.db|params\.yaml|dvc\.(lock|yaml)"
)
ARRAYS = re.compile(
    r"(images|labels|ids|costs|views|positions|logits|probabilities|confidence|members|first|second|lam)\.npy|weights\.safetensors|history\.csv"
)


def spelt(source: str) -> list[str]:
    """The constants of a module that spell a path of a workspace: given to `Path`, or joined by `/`."""
    found = []

    def is_path(text: str) -> bool:
        first, _, _ = text.partition("/")
        return first in FOLDERS or bool(NAMES.fullmatch(text) or ARRAYS.fullmatch(text))

    for node in ast.walk(ast.parse(source)):
        parts: list[ast.expr] = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Path":
            parts = node.args
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [node.left, node.right]
        for part in parts:
            value = part.values[0] if isinstance(part, ast.JoinedStr) and part.values else part
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and is_path(value.value):
                found.append(f"{node.lineno}: {value.value}")
    return found


def test_no_other_module_spells_a_path():
    files = [path for folder in ("tuition", "stages", "flows") for path in (ROOT / folder).rglob("*.py")]
    files.remove(ROOT / "tuition/workspace.py")
    found = {str(path.relative_to(ROOT)): lines for path in files if (lines := spelt(path.read_text()))}
    assert found == {}
