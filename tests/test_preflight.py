"""What is checked before the first call: here, of what a method sees: a sample's inside, and samples that were not bought."""

import pytest
from support import ROOT

from tuition.errors import UserError
from tuition.methods import METHODS, card
from tuition.params import load, regime, student_training
from tuition.params.checks import check
from tuition.preflight import check_methods


def study_of(*names, **sections):
    params = load(ROOT / "params.yaml")
    study = params.study.model_copy(update={"methods": list(names)})
    none = params.estimate.model_copy(update={"estimator": "none", "students": 0})
    return params.model_copy(
        update={"study": study, "estimate": none, "methods": {name: sections.get(name, {}) for name in names}}
    )


def test_a_method_that_looks_inside_a_sample_is_refused_for_other_inputs():
    check_methods(study_of("mixup", "kd"), ["logits"], inputs="images")
    check_methods(study_of("kd", "icd"), ["logits", "embedding"], inputs="sounds")
    with pytest.raises(
        UserError, match=r"'mixup' looks inside a sample and takes images, .*this study are sounds"
    ) as caught:
        check_methods(study_of("kd", "mixup"), ["logits"], inputs="sounds")
    works = str(caught.value).rpartition("would work: ")[2].split(", ")
    assert works == [name for name in METHODS if not card(name).inputs]
    assert "kd" in works
    assert "mixup" not in works


def test_a_method_says_itself_what_it_learns_of_samples_that_were_not_bought():
    params = study_of("kd", "uda", kd={}, uda={"rest": "unlabelled"})
    check_methods(params, ["logits"])
    assert [student_training(params, name).rest for name in ("kd", "uda")] == ["none", "unlabelled"]
    assert [regime(params, name) for name in ("kd", "uda")] == ["few", "pool"]
    for section, said in (
        ({}, r"'uda' learns from samples that were not bought; set methods\.uda\.rest: unlabelled, or estimated"),
        ({"rest": "all"}, r"methods\.uda\.rest: found 'all'\. Input should be 'none', 'estimated'"),
    ):
        with pytest.raises(UserError, match=said):
            check_methods(study_of("uda", uda=section), ["logits"])
    with pytest.raises(UserError, match=r"'kd' learns nothing of samples .*would work: pool-ckd, fixmatch, uda$"):
        check_methods(study_of("kd", kd={"rest": "unlabelled"}), ["logits"])
    with pytest.raises(
        UserError, match=r"methods\.kd\.rest: found 'both', which reads estimates, but estimate\.estimator is 'none'"
    ):
        check(study_of("kd", kd={"rest": "both"}), ROOT / "params.yaml")
