"""A study of texts whose teacher is a classifier on this machine: checked, bought, and learnt from by its inside, too."""

import csv
import json

import numpy as np
import pytest
from support import stage

from tuition import params as parameters
from tuition.cli.check import look
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.preflight import check_methods

TAPS = "[bert.encoder.layer.0, bert.encoder.layer.1]"
PARAMS = """
study: {{budgets: [60], methods: [fitnet+kd, ckd-vid, sp+kd], seeds: [0]}}
data: {{source: "csv:glosses.csv", columns: {{text: definition, label: kind}}}}
teacher: {{kind: checkpoint, name: tiny, weights: "{teacher}", signals: [logits, embedding, map], taps: {taps}, max_text_tokens: 20}}
student: {{arch: "transformers:{student}", max_tokens: 24, taps: [encoder.layer.0, encoder.layer.1]}}
train: {{steps: 6, batch_size: 16, optimizer: adamw, lr: 0.001, validate_every: 3}}
compare: {{sets: {{ckd-vid: {{strategy: in-batch, k: 2}}}}}}
methods: {{fitnet+kd: {{}}, ckd-vid: {{}}, sp+kd: {{}}, at: {{}}}}
"""


@pytest.fixture
def study(tmp_path, monkeypatch, classifier, encoder, kinds_of_glosses):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "params.yaml").write_text(PARAMS.format(teacher=classifier, student=encoder, taps=TAPS))
    with (tmp_path / "glosses.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("definition", "kind"), *zip(*kinds_of_glosses, strict=True)])
    return tmp_path


def test_it_is_checked_bought_once_and_learnt_from_by_its_inside(study):
    found = look(parameters.load())
    assert found.errors == []
    (cut,) = [line for line in found.notes if "are cut" in line]
    assert "longer than it is shown (teacher.max_text_tokens)" in cut
    for name, *more in (("prepare",), ("teach", 60), ("compare", 60)):
        ran = stage(name, *more, cwd=study)
        assert ran.returncode == 0, ran.stderr
        said = ran.stdout if name == "teach" else ""
        assert "60 new calls" in said or name != "teach"
    spend = read_json(study / "outputs/60/spend.json")
    assert 0 < spend["shortened_texts"] <= 60
    assert cut in look(parameters.load()).notes  # of what `prepare` left, too
    assert "0 new calls" in stage("teach", 60, cwd=study).stdout
    assert read_array(study / "outputs/60/map1.npy").shape == (60, 32, 1, 1)
    methods = ("fitnet+kd", "ckd-vid", "sp+kd")
    for method in methods:
        ran = stage("train", 60, method, 0, cwd=study)
        assert ran.returncode == 0, ran.stderr
    students = {(study / f"students/60-{method}-0/weights.safetensors").read_bytes() for method in methods}
    assert len(students) == 3
    description = json.loads((study / "students/60-fitnet+kd-0/student.json").read_text())
    assert description["taps"] == ["encoder.layer.0", "encoder.layer.1"]


def test_methods_whose_maps_need_places_and_students_without_taps_are_told(study):
    params = parameters.load()
    for name, taps, told in (
        ("at", ["encoder.layer.1"], "those of texts have one place each"),
        ("fitnet+kd", [], "student.taps names none: modules of transformers:<folder>"),
    ):
        changed = params.model_copy(
            update={
                "study": params.study.model_copy(update={"methods": [name]}),
                "student": params.student.model_copy(update={"taps": taps}),
            }
        )
        with pytest.raises(
            UserError, match=f"study.methods: '{name.replace('+', '.')}' reads maps inside the student, and {told}"
        ):
            check_methods(changed, ["logits", "embedding", "map", "energy"], inputs="texts")


def test_a_tap_of_a_student_that_gives_no_map_is_told(encoder, glosses):
    from tuition.inputs import texts
    from tuition.models import make, signals
    from tuition.params import Student

    own = texts.own(glosses, "encoder", Student(arch=f"transformers:{encoder}", max_tokens=24))
    model = {"arch": f"transformers:{encoder}", "inputs": "texts", "classes": 3, **own}
    for taps, told in (
        (["encoder.layer.9"], r"student\.taps: found 'encoder\.layer\.9', which is no module .* Near matches: encoder"),
        (["encoder.layer.0", "encoder.layer.0"], r"student\.taps: .*: a module stands there twice"),
    ):
        with pytest.raises(UserError, match=told):
            make({**model, "taps": taps})
    network = make({**model, "taps": ["encoder.layer.0", "encoder.layer.1"]}).eval()
    import torch

    tokens = torch.from_numpy(texts.numbers(glosses[:5], model))
    with torch.no_grad():
        found = signals(network, tokens, maps=True)
    np.testing.assert_allclose(
        found["map2"].flatten(1), found["embedding"], atol=1e-5
    )  # which is the mean of the last layer
    assert not np.allclose(found["map1"], found["map2"])
