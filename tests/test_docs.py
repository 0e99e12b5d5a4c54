"""The documents hold: links lead somewhere, files, modules and commands that they name exist, and the README stays short."""

import pkgutil
import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import typer
from PIL import Image
from ruamel.yaml import YAML
from support import ROOT, readme
from typer.testing import CliRunner

from tuition import params as parameters
from tuition.cli.__main__ import app
from tuition.methods import METHODS
from tuition.teachers import load_teacher

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")])
ROOMS = ("tuition", "stages", "flows", "tests", "benchmarks", "docs", "studies", "deploy")
MADE = ("deploy/.env",)  # written by whoever follows a page
README = readme.TEXT


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestEveryPage:
    def test_its_links_lead_somewhere(self, page):
        lost = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not leads(page, link)]
        assert not lost

    def test_the_files_that_it_names_exist(self, page):
        rooms = "|".join(ROOMS)
        named = re.findall(rf"(?<![\w/.-])(?:{rooms})/[\w./<>*-]*", page.read_text())
        assert not [path for path in named if path not in MADE and not exists(path)]

    def test_the_modules_that_it_names_exist(self, page):
        modules = re.findall(r"(?:python|torchrun[^\n]*) -m ([\w.]+)", page.read_text())
        assert not [name for name in modules if find_spec(name) is None]

    def test_the_names_of_the_library_that_it_uses_exist(self, page):
        text = page.read_text()
        names = re.findall(r"\btuition(?:\.\w+)+", text)
        for module, imported in re.findall(r"from (tuition[\w.]*) import ([\w, ]+)", text):
            names += [f"{module}.{name.strip()}" for name in imported.split(",")]
        assert not [name for name in names if not resolves(name)]

    def test_the_commands_that_it_names_exist(self, page):
        known = commands(typer.main.get_command(app))
        named = re.findall(r"\btuition ([a-z]+)(?: ([a-z]+))?", code(page.read_text()))
        lost = [f"{first} {second}" for first, second in named if not is_command(known, first, second)]
        assert not lost


def leads(page: Path, link: str) -> bool:
    """Whether a link's file exists and has the heading that the link names. Links to the web are taken as they are."""
    if "://" in link:
        return True
    place, _, heading = link.partition("#")
    target = page.parent / unquote(place) if place else page
    return target.exists() and (not heading or heading in headings(target))


def resolves(name: str) -> bool:
    """Whether a dotted name is a module or something in one."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def exists(path: str) -> bool:
    """Whether a path in the repository exists; of `tuition/methods/<name>.py` the part that is no placeholder."""
    plain = re.split(r"[<*]", path)[0]
    plain = plain if plain == path else plain.rpartition("/")[0]
    return (ROOT / plain.rstrip("./")).exists()


def code(text: str) -> str:
    """What stands in backticks, in a block or in a line: prose may begin a sentence with the project's name."""
    found = re.findall(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", text, flags=re.DOTALL)
    return "\n".join(block or span for block, span in found)


def commands(command) -> dict[str, set[str]]:
    """The `tuition` command's subcommands, each with its own."""
    return {name: set(getattr(sub, "commands", {})) for name, sub in command.commands.items()}


def is_command(known: dict[str, set[str]], first: str, second: str) -> bool:
    return first in known and (not known[first] or not second or second in known[first])


def test_readme_is_short():
    lines = README.splitlines()
    assert len(lines) < 150
    assert not [line for line in lines if len(line) > 120]


def test_readmes_teacher_answers(tmp_path, monkeypatch):
    """The function and `tuition init` of README.md, as they stand there, on a folder of images and a table."""
    function = next(block for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL))
    (_, *command), *_ = readme.commands("tuition init")
    asked = "def ask_my_api(image, idempotency_key):\n    return [image.mean(), len(idempotency_key)]\n"
    (tmp_path / "mine.py").write_text(function + asked)
    (tmp_path / "photos").mkdir()
    for number in range(24):
        Image.new("L", (20 + number, 20), 9 * number).save(tmp_path / f"photos/{number}.png")
    (tmp_path / "labelled.csv").write_text(
        "input,label\n" + "".join(f"photos/{i}.png,{'ab'[i % 2]}\n" for i in range(8))
    )
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TUITION_LEDGER", str(tmp_path / "ledger.db"))
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    settings = parameters.load(tmp_path / "params.yaml")
    assert settings.teacher.cap.calls == 5000
    assert settings.teacher.price.call == 0.002
    teacher = load_teacher(settings.teacher, {"channels": 1, "height": 8, "width": 8, "classes": ["a", "b"]})
    answer = teacher.answer_now(np.full((3, 1, 8, 8), 7, dtype=np.uint8), ["k"] * 3)
    assert np.array_equal(answer["logits"], [[7, 1]] * 3)


def test_readme_shows_what_the_stages_write():
    tree = next(block for block in re.findall(r"```\n(.*?)```", README, flags=re.DOTALL) if "ledger.db" in block)
    shown = {name for line in tree.splitlines() for name in re.findall(r"([\w.]+)/(?:\S*, |\S* )", line[:24])}
    written = {folder for stage in pipeline().values() for folder in outs(stage)}
    assert shown - {"mlruns"} == written


def pipeline() -> dict[str, dict]:
    return YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]


def outs(stage: dict) -> set[str]:
    """The folders at the top of the workspace into which a stage writes."""
    paths = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return {(out if isinstance(out, str) else next(iter(out))).split("/")[0] for out in paths}


@pytest.mark.parametrize("storey", ["flows", "stages", "tuition"])
def test_contributing_shows_every_room(storey):
    tree = re.search(
        rf"^{storey}/ .*?(?=^\S|^```)", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.DOTALL | re.MULTILINE
    )
    rooms = set(re.findall(r"^  (\w+)/ ", tree.group(), flags=re.MULTILINE))
    files = set(re.findall(r"\b(\w+)\.py\b", tree.group()))
    there = list((ROOT / storey).iterdir())
    assert rooms == {path.name for path in there if (path / "__init__.py").exists()}
    assert files == {path.stem for path in there if path.suffix == ".py"} - {"__init__"}


def test_every_method_and_every_section_has_its_place():
    assert set(METHODS) <= named_in(ROOT / "docs/methods.md")
    sections = YAML(typ="safe").load((ROOT / "params.yaml").read_text())
    assert set(sections) <= named_in(ROOT / "docs/parameters.md")


def named_in(page: Path) -> set[str]:
    return set(re.findall(r"`([\w-]+)`", page.read_text()))


def test_contributing_shows_the_floors_that_the_imports_are_held_to():
    floors = re.search(r'FLOORS = """\n(.*?)"""', (ROOT / "tests/test_layers.py").read_text(), flags=re.DOTALL)
    assert floors.group(1) in (ROOT / "CONTRIBUTING.md").read_text()
