"""The plan of the house: which room may import which. Every import of the code is read and held against one table."""

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from support import ROOT

# A room may import what stands on the lines above its own, and nothing else; rooms on one line know nothing of each other.
FLOORS = """
errors signals ranges forkserver identity
files workspace imports views addresses
origins
tables features inputs targets models comparisons spend estimators
losses estimates
methods
params
ledger selection sources tracking
training teachers
purchase preflight
registry
intake
cli
"""
# of dvc.yaml; none imports another
STAGES = "prepare transfer encode pretrain teach estimate compare train evaluate report register"
NEVER = {  # a room: what no file of it may import, be it on a lower floor
    "ledger": "inputs models targets",
    "methods": "files workspace params",
    "purchase": "methods training",
}
# They look inside images: the list may only become shorter. All others ask the module of the kind (`tuition/inputs/kinds.py`).
OF_IMAGES = {
    "tuition/inputs/kinds.py",
    "tuition/intake/inbox.py",
    "tuition/registry/predict.py",
    "tuition/sources/__init__.py",
    "tuition/sources/additions.py",
    "tuition/sources/folder.py",
    "tuition/sources/npz.py",
    "tuition/sources/originals.py",
    "tuition/sources/table.py",
    "tuition/sources/vision.py",
    "tuition/teachers/derived.py",
}
LIGHT = ("prefect", "dvc", "mlflow")  # what trains and teaches imports none of these


def floors() -> dict[str, int]:
    return {room: floor for floor, line in enumerate(FLOORS.split("\n")[1:-1]) for room in line.split()}


def imports() -> list[tuple[str, str, str]]:
    """(file, importing module, imported module) of every import among the three storeys, those within functions too."""
    files = [path for top in ("tuition", "stages", "flows") for path in sorted((ROOT / top).rglob("*.py"))]
    modules = {module_of(path) for path in files}
    found = []
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [f"{node.module}.{alias.name}" for alias in node.names]
                targets = [name if name in modules else node.module for name in named]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                continue
            found += [(str(path.relative_to(ROOT)), module_of(path), one) for one in targets]
    return [one for one in found if one[2].split(".")[0] in ("tuition", "stages", "flows")]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> tuple[str, str]:
    """(storey, room) of a module; the room of a package's own __init__ is ''."""
    storey, _, rest = module.partition(".")
    return storey, rest.split(".")[0]


def allowed(source: str, target: str) -> bool:
    (storey, room), (below, other), floor = room_of(source), room_of(target), floors()
    if storey == "flows":
        return below in ("flows", "tuition")
    if below == "flows":
        return False
    if storey == "stages":
        return below == "tuition" or other in ("", room)
    if below == "stages":
        return room == "cli"
    if other == room or not other:
        return True
    return floor[room] > floor[other] and other not in NEVER.get(room, "").split()


def test_no_import_runs_up_or_aside():
    wrong = [f"{file}: {target}" for file, source, target in imports() if not allowed(source, target)]
    assert not wrong, "\n".join(wrong)


def test_few_files_look_inside_images():
    inside = "tuition.inputs.images"
    found = {file for file, source, target in imports() if target.startswith(inside) and not source.startswith(inside)}
    assert found == OF_IMAGES


def test_every_room_stands_on_a_floor():
    rooms = {room_of(module_of(path))[1] for path in (ROOT / "tuition").rglob("*.py")} - {""}
    assert rooms == set(floors())


def test_the_stages_are_those_of_the_pipeline():
    from ruamel.yaml import YAML

    named = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    folders = sorted(path.parent.name for path in (ROOT / "stages").glob("*/__main__.py"))
    assert folders == sorted(named) == sorted(STAGES.split())
    assert (
        sorted(path.name for path in (ROOT / "stages").iterdir() if path.is_dir() and path.name != "__pycache__")
        == folders
    )


def test_no_circle_of_files():
    graph: dict[str, set[str]] = {}
    for _, source, target in imports():
        if target != source and not source.startswith(
            f"{target}."
        ):  # a package's __init__ is always loaded before its files
            graph.setdefault(source, set()).add(target)
    circle = _circle(graph)
    assert not circle, " -> ".join(circle)


def _circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, in order; empty where there is none."""
    done: set[str] = set()

    def walk(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            if found := walk(target, [*path, module]):
                return found
        done.add(module)
        return []

    return next((found for module in sorted(graph) if (found := walk(module, []))), [])


def test_a_circle_is_found():
    assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert all(one != other for one, other in pairwise(_circle({"a": {"b"}, "b": {"c"}})))


@pytest.mark.parametrize(
    "module", ["stages.train.__main__", "stages.pretrain.__main__", "stages.teach.__main__", "stages.encode.__main__"]
)
def test_what_trains_and_teaches_is_light(module):
    code = f"import sys, {module}; print([name for name in {LIGHT} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
