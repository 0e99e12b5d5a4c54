"""What every source gives: samples of one kind and shape in the splits that it has, with labels, and what could not be read."""

from dataclasses import dataclass, field, replace

import numpy as np

from tuition.errors import UserError
from tuition.origins import Originals, Origins

UNKNOWN = -1  # the label of a sample that has none


@dataclass(frozen=True)
class Part:
    images: np.ndarray  # uint8 (N, C, H, W); samples (N, …) of another kind, where `Raw.inputs` says so
    labels: np.ndarray  # int64 (N,), in 0..classes-1; UNKNOWN where there is none
    origins: Origins | None = None  # where each row came from; None: nobody knows
    originals: Originals | None = None  # where samples were made smaller: what they were

    def take(self, rows: np.ndarray) -> "Part":
        """Some of its rows (n,), by number."""
        origins = None if self.origins is None else self.origins[rows]
        return Part(
            self.images[rows], self.labels[rows], origins, None if self.originals is None else self.originals[rows]
        )


@dataclass(frozen=True)
class Raw:
    parts: dict[str, Part]  # "train", and "val" and "test" where the source has them
    classes: list[str]  # the name of label i; empty where the source has no label and names none
    rejected: list[tuple[str, str]] = field(default_factory=list)  # file, reason
    warnings: list[str] = field(default_factory=list)  # what was read, and is perhaps not what was meant
    inputs: str = "images"  # what the samples are, as `tuition.inputs.kinds.INPUTS` calls them

    def unlabelled(self) -> int:
        """How many samples have no label."""
        return sum(int((part.labels == UNKNOWN).sum()) for part in self.parts.values())

    def relabelled(self, classes: list[str]) -> "Raw":
        """The same samples, with labels that are places in `classes`, which names all of theirs."""
        if classes == self.classes:
            return self
        places = np.array(
            [*(classes.index(name) for name in self.classes), UNKNOWN], np.int64
        )  # the last stands for UNKNOWN
        parts = {name: replace(part, labels=places[part.labels]) for name, part in self.parts.items()}
        return replace(self, parts=parts, classes=classes)


def to_classes(
    where: str, labels: dict[str, np.ndarray], names: list[str] | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Map the labels of each split to 0..C-1.

    With `names`, label i is called names[i]. Without, the classes are the values found in train, in order, called by
    their numbers; the values found anywhere, where train has samples without a label. UNKNOWN stays what it is.
    Raises UserError for a label that has no name, or that train does not have.
    """
    of_train = [labels["train"]] if (labels["train"] != UNKNOWN).all() else list(labels.values())
    known = np.setdiff1d(np.concatenate(of_train), [UNKNOWN]) if names is None else np.arange(len(names))
    mapped = {}
    for split, values in labels.items():
        strange = np.setdiff1d(values, [*known, UNKNOWN])
        if len(strange):
            valid = (
                "the labels of train"
                if names is None
                else f"0..{len(known) - 1}, one for each of its {len(known)} names"
            )
            raise UserError(f"{where}: {split} has label {strange[0]}; valid are {valid}")
        mapped[split] = np.where(values == UNKNOWN, UNKNOWN, np.searchsorted(known, values)).astype(np.int64)
    return mapped, [str(value) for value in known] if names is None else names
