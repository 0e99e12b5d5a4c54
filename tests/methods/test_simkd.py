"""`simkd`: the projected student against float64 NumPy, its deployed form, and the teachers that it refuses."""

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms

from tuition.errors import UserError
from tuition.models import build as build_model
from tuition.models import signals

RNG = np.random.default_rng(0)
B = 5
Y = np.zeros(B, dtype=int)
S = {"logits": np.zeros((B, 3)), "map1": np.zeros((B, 4, 4, 4))}
LAST = np.abs(RNG.normal(size=(B, 9, 2, 2)))
CLASSIFIER = {"classifier_weight": torch.randn(3, 9), "classifier_bias": torch.randn(3)}


def test_simkd():
    teacher = {"features": LAST, "embedding": LAST.mean((2, 3))}
    objective = made("simkd", {}, context_of(S, teacher, constants=CLASSIFIER, inputs=torch.zeros(B, 1, 16, 16)))
    wrapped = objective.wrap(build_model("resnet8", channels=1, classes=3, size=(16, 16)))
    said = signals(wrapped, torch.randn(B, 1, 16, 16), maps=True)
    given = {name: value.detach().double().numpy() for name, value in said.items()}
    assert terms(objective, given, batch_of(Y, teacher))[0]["teacher"] == pytest.approx(
        ((given["map4"].reshape(B, 9, 2, 2, 2, 2).mean((3, 5)) - LAST) ** 2).mean(), abs=1e-9
    )
    expected = given["map4"].mean((2, 3)) @ CLASSIFIER["classifier_weight"].double().numpy().T
    np.testing.assert_allclose(given["logits"], expected + CLASSIFIER["classifier_bias"].numpy(), atol=1e-4)
    assert not any(parameter.requires_grad for parameter in wrapped.get_classifier().parameters())
    assert not list(objective.parameters())
    same = terms(objective, given | {"map4": LAST}, batch_of(Y, teacher))
    assert same[0] == {"teacher": 0}  # its minimum, and no term of the labels


@pytest.mark.parametrize(
    ("embedding", "words"),
    [(LAST.mean((2, 3)) * 1.05, "is not the global average"), (np.ones((B, 4)), "has 4 entries, its last map 9")],
)
def test_simkd_refuses_a_teacher_that_does_not_classify_the_average_of_its_last_map(embedding, words):
    with pytest.raises(UserError, match=words):
        made("simkd", {}, context_of(S, {"features": LAST, "embedding": embedding}, constants=CLASSIFIER))
