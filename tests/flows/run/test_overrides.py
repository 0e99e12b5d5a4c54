"""`-S`: params.yaml keeps its comments, and stays as it was where the change is not valid."""

import pytest
from support import ROOT

from flows.run.overrides import apply_overrides
from tuition import params as parameters
from tuition.errors import UserError


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def test_nothing_to_set_changes_no_byte(file):
    apply_overrides([], file)
    assert file.read_text() == (ROOT / "params.yaml").read_text()


def test_values_are_set_and_every_other_line_stays(file):
    changes = ["train.lr=5e-3", "study.methods=[ce, kd]", "teacher.cap=90", "methods.kd.temperature=2.0"]
    apply_overrides([*changes, "compare.sets.ckd-kl={strategy: nearest, k: 4}"], file)
    params = parameters.load(file)
    assert (params.train.lr, params.study.methods, params.teacher.cap.calls) == (0.005, ["ce", "kd"], 90)
    assert params.methods["kd"]["temperature"] == 2.0
    assert (params.compare.sets["ckd-kl"].strategy, params.compare.sets["ckd-kl"].k) == ("nearest", 4)
    before, after = (path.read_text().splitlines() for path in (ROOT / "params.yaml", file))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 5
    assert all(old.partition("#")[2] == new.partition("#")[2] for old, new in changed)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lrr=1", r"train\.lrr: no such parameter\. Did you mean 'lr'\? Valid: accelerator, batch_size"),
        ("trian.lr=1", r"trian: no such parameter\. Did you mean 'train'\? Valid: compare, data"),
        ("train.lr.x=1", r"train\.lr is no section, found 0\.05"),
        ("train.steps=many", r"train\.steps: found 'many'"),
        ("study.methods=[kdd]", r"'kdd' is not known\. Did you mean 'kd'\? Valid: ab, at, bss"),
        ("methods.kd.temprature=2", r"Did you mean 'temperature'\? Valid: temperature, weight_ce, weight_kd"),
        ("methods.ce.x=1", r"it has no settings"),
        ("train.lr", r"expected section\.key=value"),
        ("=1", r"expected section\.key=value"),
        ("train.lr=[", r"the value is not valid YAML"),
    ],
)
def test_a_bad_override_is_told_and_the_file_stays(file, override, message):
    before = file.read_text()
    with pytest.raises(UserError, match=message):
        apply_overrides(["train.crop=1", override], file)
    assert file.read_text() == before
    assert [path.name for path in file.parent.iterdir()] == ["params.yaml"]


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        apply_overrides(["train.lr=0.1"], tmp_path / "params.yaml")
