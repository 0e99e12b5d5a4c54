"""Which samples a registered student takes, and what its classes are called, as MLflow's metadata of it say."""

from typing import Any, NamedTuple

from tuition.inputs.kinds import IMPLIED


class Takes(NamedTuple):
    shape: tuple[int, ...]  # of one stored sample
    kind: str  # of inputs
    classes: list[str]


def what_it_takes(model: Any) -> Takes | None:
    """Of an MLflow model's info or metadata: None where it says too little, so that Tuition did not make it.

    Older versions have the shape of a sample in their signature.
    """
    try:
        about = model.metadata or {}
        if "shape" in about:
            shape = about["shape"]
        else:
            ((_, *shape),) = (one.shape for one in model.signature.inputs.inputs)
        classes = [str(one) for one in about["classes"]]
        return Takes(tuple(int(side) for side in shape), str(about.get("inputs", IMPLIED)), classes)
    except (AttributeError, TypeError, ValueError, KeyError):
        return None
