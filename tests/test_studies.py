"""`studies/`: every file makes valid parameters at both sizes, and params.yaml survives files that do not."""

from pathlib import Path

import pytest
from support import ROOT, stage

from flows.run import overrides
from stages.train.__main__ import train_cell
from tuition import params as parameters
from tuition.cli import presets
from tuition.errors import UserError
from tuition.files import read_json
from tuition.training.student import write_student

FILES = sorted((ROOT / "studies").glob("*.yaml"))
PAPERS = ("2311.02253", "2407.11802", "2007.01922")


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def keys(study: Path, size: str) -> set[tuple[str, ...]]:
    return {tuple(names) for names, _ in presets._flat(presets.read(study, size), [])}


def test_the_studies_are_there():
    assert {one.stem for one in FILES} >= {
        "ckd-main-resnet110-resnet32",
        "ckd-main-wrn_40_2-wrn_16_2",
        "ckd-main-vgg13-vgg8",
        "ckd-white-box",
        "ckd-ablations",
        "icd",
        "nine-methods",
    }


@pytest.mark.parametrize("size", presets.SIZES)
@pytest.mark.parametrize("study", FILES, ids=lambda one: one.stem)
def test_every_study_makes_valid_parameters(study, size, file):
    params = presets.use(study, size, file)
    assert parameters.load(file) == params
    sections = presets.read(study, size)
    assert params.study.methods == sections["study"]["methods"]
    assert params.study.budgets == sections["study"]["budgets"]
    assert set(params.study.methods) == set(sections["methods"])
    assert params.data.source == ("mnist5k" if size == "small" else "torchvision:CIFAR100")
    assert params.teacher.arch != params.student.arch
    comments = [line.partition("#")[2] for line in (ROOT / "params.yaml").read_text().splitlines() if "#" in line]
    after = file.read_text()
    assert all(comment in after for comment in comments)


@pytest.mark.parametrize("study", FILES, ids=lambda one: one.stem)
def test_sizes_set_the_same_keys_so_that_one_leaves_nothing_of_the_other(study, file, tmp_path):
    assert keys(study, "small") == keys(study, "full")
    direct = tmp_path / "direct.yaml"
    direct.write_text(file.read_text())
    presets.use(study, "full", file)
    assert presets.use(study, "small", file) == presets.use(study, "small", direct)
    assert file.read_text().split() == direct.read_text().split()  # spaces before comments differ


@pytest.mark.parametrize("study", FILES, ids=lambda one: one.stem)
def test_the_first_comment_tells_paper_commands_and_cost(study):
    head = study.read_text().partition("\nall:")[0]
    assert all(line.startswith("#") for line in head.splitlines() if line)
    assert any(paper in head for paper in PAPERS)
    for size in presets.SIZES:
        assert f"tuition use studies/{study.name} --size {size}" in head
    head = " ".join(head.replace("#", " ").split())
    for word in ("estimate", "teacher calls", "on one GPU", "minutes on two cores"):
        assert word in head
    assert f"{presets.read(study, 'full')['study']['budgets'][-1]:,} teacher calls" in head


STUDY = """
all:
  train: {steps: 7, lr: 0.5}
  methods: {kd: {weight_kd: 2.0}, mine: {method: ckd-mse, labels: none}, ce: }
  compare: {sets: {mine: {strategy: nearest, k: 4}}}
small:
  train: {steps: 3}
  study: {methods: [kd, mine], budgets: [10]}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(text)
    return path


def test_sections_are_merged_and_methods_replaced(file, tmp_path):
    before = parameters.load(file)
    params = presets.use(write(tmp_path, STUDY), "small", file)
    assert (params.train.steps, params.train.lr) == (3, 0.5)  # the size wins over `all`
    assert params.train.batch_size == before.train.batch_size
    assert params.methods["kd"] == {"weight_kd": 2.0}  # whole: the temperature that stood there is gone
    assert params.methods["mine"] == {"method": "ckd-mse", "labels": "none"}
    assert params.methods["ce"] == {}
    assert params.methods["ckd-mse"] == before.methods["ckd-mse"]
    assert (params.compare.sets["mine"].strategy, params.compare.sets["mine"].k) == ("nearest", 4)
    lines = file.read_text().splitlines()
    assert "  mine: {method: ckd-mse, labels: none}" in lines
    assert "budgets: [10] # teacher calls" in [" ".join(line.split()) for line in lines]
    sections = [number for number, line in enumerate(lines) if line and line[0].isalpha()]
    assert all(
        lines[number - 1] == "" for number in sections
    )  # new keys stand in their section, not after its empty line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            STUDY.replace("lr:", "lrr:"),
            r"one\.yaml \(small\): .*train\.lrr: no such parameter\. Did you mean 'lr'\? Valid: ",
        ),
        (STUDY.replace("  train:", "  trian:"), r"trian: no such parameter\. Did you mean 'train'\?"),
        (STUDY.replace("steps: 3", "steps: many"), r"train\.steps: found 'many'"),
        (
            STUDY.replace("weight_kd: 2.0", "weight_dk: 2.0"),
            r"methods\.kd: 'weight_dk' is not known\. Did you mean 'weight_kd'",
        ),
        (STUDY.replace("method: ckd-mse", "method: ckd"), r"'ckd' is not known"),
        (STUDY.replace("[kd, mine]", "[kd, fitnet]"), r"fitnet"),
        (STUDY.replace("sets: {mine", "sets: {theirs"), r"compare\.sets: 'theirs' is not known"),
        (STUDY.replace("train: {steps: 3}", "train: 3"), r"train"),
        (STUDY.replace("small:", "tiny:"), r"one\.yaml: 'tiny' is not known\. Valid: all, full, small"),
        (STUDY.replace("small:", "full:"), r"one\.yaml: size: 'small' is not known\. Valid: full"),
        ("small: [1]", r"small: found \[1\], expected sections of params\.yaml"),
        ("- 1", r"found list, expected the keys all, small, full"),
        ("small: {", r"one\.yaml: not valid YAML"),
    ],
)
def test_a_bad_study_is_told_and_params_stay(file, tmp_path, text, message):
    before = file.read_bytes()
    study = write(tmp_path, text)
    with pytest.raises(UserError, match=message):
        presets.use(study, "small", file)
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"params.yaml", "one.yaml"}


def test_a_missing_study_is_answered_with_those_that_are_there(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"studies/ids\.yaml: no such file; valid: .*studies/icd\.yaml"):
        presets.use(Path("studies/ids.yaml"), "small", file)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "study",
    [
        one if one.stem in ("icd", "nine-methods") else pytest.param(one, marks=pytest.mark.long)
        for one in FILES
        if "main" not in one.stem or "wrn" in one.stem
    ],
    ids=lambda one: one.stem,
)
def test_every_method_of_a_small_study_trains(study, workspace):
    """The small size with its own methods, sets and networks, on fewer digits and for a few steps, through the stages."""
    source = parameters.load().data.source
    params = presets.use(ROOT / study, "small", Path("params.yaml"))
    overrides.apply_overrides(
        [
            f"data.source={source}",
            f"transfer.source={'null' if params.transfer.source is None else source}",
            "study.budgets=[60]",
            "study.seeds=[0]",
            "pretrain.steps=20",
            "pretrain.validate_every=20",
            "train.steps=4",
            "train.validate_every=2",
        ]
    )
    for name, *argv in (("transfer",), ("pretrain",), ("teach", 60), ("compare", 60)):
        ran = stage(name, *argv, cwd=workspace)
        assert ran.returncode == 0, ran.stderr
    params = parameters.load()
    for method in params.study.methods:
        done, _, model, meta = train_cell(params, 60, method, 0)
        assert len(done.history) == 2, method
        assert meta["samples"] == 60
        write_student(Path("students") / f"60-{method}-0", done.best, meta, done.history, model)
    ran = stage("evaluate", 60, params.study.methods[-1], 0, cwd=workspace)
    assert ran.returncode == 0, ran.stderr
    figures = read_json(workspace / f"results/60-{params.study.methods[-1]}-0/metrics.json")
    assert ("transfer_top1" in figures) == (params.transfer.source is not None)
