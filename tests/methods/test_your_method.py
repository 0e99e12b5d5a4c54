"""A method of the user's own: the example of docs/your_method.md is trained with, and what is wrong with one is named."""

import hashlib
import re

import pytest
from support import PAID, ROOT, bill, stage, write_params

from tuition.errors import UserError
from tuition.files import read_json
from tuition.methods import build, card, check_settings, resolve
from tuition.params import load
from tuition.preflight import check_methods

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs/your_method.md").read_text(), re.DOTALL).group(1)
SECTION = {"method": "mymethods:Centred", "weight": 0.5}
STUDY = {**PAID, "study.methods": ["mine"], "methods": {"mine": SECTION}, "compare.watch": "mymethods.py"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with modules of the user's, which no other test sees."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mymethods", "wrong"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    (tmp_path / "mymethods.py").write_text(EXAMPLE)
    (tmp_path / "wrong.py").write_text(
        "from torch import nn\nplain = 1\nclass Signals(nn.Module):\n    signals = 'logits'\n"
    )
    yield tmp_path
    for name in ("mymethods", "wrong"):
        __import__("sys").modules.pop(name, None)


def test_the_example_trains_a_student_and_an_edit_is_noticed(paid):
    (paid / "mymethods.py").write_text(EXAMPLE)
    write_params(paid, STUDY)
    for name, *argv in (("teach", 40), ("compare", 40), ("train", 40, "mine", 0)):
        ran = stage(name, *argv, cwd=paid)
        assert ran.returncode == 0, ran.stderr
    assert len(bill(paid)) == 40
    meta = read_json(paid / "comparisons/40/mine/meta.json")
    expected = {"strategy": "none", "method": "mymethods:Centred", "file": "mymethods.py"}
    assert meta == {**expected, "code": hashlib.sha256(EXAMPLE.encode()).hexdigest()}
    history = (paid / "students/40-mine-0/history.csv").read_text().splitlines()
    assert "teacher" in history[0].split(",")
    assert "labels" in history[0].split(",")
    (paid / "mymethods.py").write_text(EXAMPLE + "\n# edited\n")
    assert stage("compare", 40, cwd=paid).returncode == 0
    assert read_json(paid / "comparisons/40/mine/meta.json")["code"] != meta["code"]


def test_it_is_a_method_as_any_other(here):
    assert resolve("mine", SECTION) == ("mymethods:Centred", False, {"weight": 0.5})
    assert resolve("mine", {"method": "mymethods:Centred+kd"}).kd
    assert card("mymethods:Centred").signals == ("logits",)
    assert card("mymethods:Centred").weight_ce == 1.0
    assert build("mine", SECTION).method.weight == 0.5
    assert check_settings("mine", {**SECTION, "weight": 1}).settings == {"weight": 1.0}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"method": "mymethods:Centred", "wight": 1.0}, r"methods\.mine: 'wight' is not known\. Did you mean 'weight'"),
        ({"method": "mymethods:Centred", "weight": "much"}, r"methods\.mine\.weight: found 'much'"),
        ({"method": "nowhere:Mine"}, "nowhere"),
        ({"method": "mymethods:Absent"}, "Absent"),
        ({"method": "wrong:plain"}, "wrong"),
        ({"method": "wrong:Signals"}, r"wrong:Signals\.signals: found 'logits', expected a tuple"),
        ({"method": "my methods:Mine"}, "'my methods:Mine' is not known"),
    ],
)
def test_what_is_wrong_with_one_is_named(here, section, message):
    with pytest.raises(UserError, match=message):
        check_settings("mine", section)


def test_its_file_must_be_watched(here):
    write_params(here, {**STUDY, "compare.watch": "tuition/files.py"})
    with pytest.raises(
        UserError, match=r"compare\.watch: found 'tuition/files.py', .*'mine', whose class is in mymethods\.py"
    ):
        check_methods(load(), ["logits"])
    write_params(here, STUDY)
    check_methods(load(), ["logits"])
    with pytest.raises(UserError, match="'mine' needs logits"):
        check_methods(load(), ["embedding"])
