"""What every source gives: samples of one kind and shape in the splits that it has, with labels, and what could not be read."""

from dataclasses import dataclass, field

import numpy as np

from tuition.errors import UserError
from tuition.origins import Origins


@dataclass(frozen=True)
class Part:
    images: np.ndarray  # uint8 (N, C, H, W); samples (N, …) of another kind, where `Raw.inputs` says so
    labels: np.ndarray  # int64 (N,), in 0..classes-1
    origins: Origins | None = None  # where each row came from; None: nobody knows
    ids: np.ndarray | None = None  # S64 (N,): content ids of the originals; None: the samples are the originals


@dataclass(frozen=True)
class Raw:
    parts: dict[str, Part]  # "train", and "val" and "test" where the source has them
    classes: list[str]  # the name of label i
    rejected: list[tuple[str, str]] = field(default_factory=list)  # file, reason
    warnings: list[str] = field(default_factory=list)  # what was read, and is perhaps not what was meant
    inputs: str = "images"  # what the samples are, as `tuition.inputs.kinds.INPUTS` calls them


def to_classes(
    where: str, labels: dict[str, np.ndarray], names: list[str] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Map the labels of each split to 0..C-1.

    With `names`, label i is called names[i]. Without, the classes are the values found in train, in order, called by
    their numbers. Raises UserError for a label that has no name, or that train does not have.
    """
    known = np.unique(labels["train"]) if names is None else np.arange(len(names))
    mapped = {}
    for split, values in labels.items():
        strange = np.setdiff1d(values, known)
        if len(strange):
            valid = (
                "the labels of train"
                if names is None
                else f"0..{len(known) - 1}, one for each of its {len(known)} names"
            )
            raise UserError(f"{where}: {split} has label {strange[0]}; valid are {valid}")
        mapped[split] = np.searchsorted(known, values).astype(np.int64)
    return mapped, [str(value) for value in known] if names is None else names
