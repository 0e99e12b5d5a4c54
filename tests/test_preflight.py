"""What is checked before the first call: here, that a method that looks inside a sample knows the samples of the study."""

import pytest
from support import ROOT

from tuition.errors import UserError
from tuition.methods import METHODS, card
from tuition.params import load
from tuition.preflight import check_methods


def study_of(*names):
    params = load(ROOT / "params.yaml")
    study = params.study.model_copy(update={"methods": list(names)})
    return params.model_copy(update={"study": study, "methods": {name: {} for name in names}})


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
