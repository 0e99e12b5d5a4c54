"""What a registered student takes, told by metadata of today's versions and by the signature of older ones."""

import numpy as np
import pytest
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec

from tuition.registry.takes import Takes, what_it_takes

FIXED = ModelSignature(inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, 3, 8, 9))]))
OPEN = ModelSignature(outputs=Schema([ColSpec("float", "a")]))


@pytest.mark.parametrize(
    ("signature", "about"),
    [(OPEN, {"classes": ["a", 2], "shape": [3, 8, 9]}), (FIXED, {"classes": ["a", 2], "inputs": "images"})],
)
def test_every_version_of_ours_says_what_it_takes(signature: ModelSignature, about: dict) -> None:
    assert what_it_takes(Model(signature=signature, metadata=about)) == Takes((3, 8, 9), "images", ["a", "2"])


@pytest.mark.parametrize(
    ("signature", "about"),
    [(OPEN, {"classes": ["a"]}), (FIXED, {"other": 1}), (FIXED, None), (None, {"classes": ["a"]})],
)
def test_a_model_of_somebody_elses_does_not(signature: ModelSignature | None, about: dict | None) -> None:
    assert what_it_takes(Model(signature=signature, metadata=about)) is None
