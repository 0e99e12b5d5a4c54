"""The pool of `data/`, of which a budget buys."""

from dataclasses import dataclass

import numpy as np

from tuition.files import read_array, read_json
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs, Samples
from tuition.purchase.account import Known
from tuition.teachers.kinds import Facts
from tuition.workspace import Workspace

UNKNOWN = -1  # of a label


@dataclass(frozen=True)
class Pool:
    """The samples that may be bought (N, …), as they are stored, labels (N,), content ids (N,) S64, and facts of the data."""

    samples: Samples
    labels: np.ndarray
    ids: np.ndarray
    facts: Facts

    @property
    def inputs(self) -> Inputs:
        return inputs_of(self.facts)

    @property
    def known(self) -> Known:
        """The classes, and the labels of samples by content id; of samples that are there twice with two labels, none."""
        by_id: dict[str, int] = {}
        for id, label in zip(self.ids.astype(str).tolist(), self.labels.tolist(), strict=True):
            if by_id.setdefault(id, label) != label:
                by_id[id] = UNKNOWN
        labels = {id: label for id, label in by_id.items() if label != UNKNOWN}
        return Known(tuple(map(str, self.facts["classes"])), labels)


def read_pool() -> Pool:
    """The pool of `data/`."""
    data, split = Workspace().data, Workspace().split("train")
    facts = read_json(data.meta) | read_json(split.meta)
    return Pool(inputs_of(facts).read(split.path), read_array(split.labels), read_array(split.ids), facts)
