"""The pool of `data/`, of which a budget buys."""

from dataclasses import dataclass, replace

import numpy as np

from tuition.files import read_array, read_json
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs, Samples
from tuition.params import Teach
from tuition.purchase.account import Known
from tuition.teachers.kinds import Facts
from tuition.workspace import Split, Workspace

UNKNOWN = -1  # of a label


@dataclass(frozen=True)
class Pool:
    """The samples that may be bought (N, …), as they are stored, labels (N,), content ids (N,) S64, and facts of the data.

    `stored_ids` (N,) S64: of the samples as they are stored; `ids` are of the originals.
    """

    samples: Samples
    labels: np.ndarray
    ids: np.ndarray
    facts: Facts
    stored_ids: np.ndarray

    @property
    def distinct_ids(self) -> np.ndarray:
        """(N,) S64: the content ids, but that samples which look the same to a student go by the id of the first of them."""
        _, first, same = np.unique(self.stored_ids, return_index=True, return_inverse=True)
        return self.ids[first][same]

    def of_stored(self) -> "Pool":
        """The same where teachers are shown what is stored, or what is made of it, whatever the originals are."""
        facts = {key: value for key, value in self.facts.items() if key != "originals"}
        return replace(self, facts=facts)

    @property
    def asked_ids(self) -> np.ndarray:
        """(N,) S64: what views and mixtures are asked for by."""
        return self.ids if "originals" in self.facts else self.stored_ids

    @property
    def inputs(self) -> Inputs:
        return inputs_of(self.facts)

    @property
    def known(self) -> Known:
        """The classes, and the labels of samples by either content id; of samples that are there twice with two labels, none."""
        by_id: dict[str, int] = {}
        for ids in (self.ids, self.stored_ids):
            for id, label in zip(ids.astype(str).tolist(), self.labels.tolist(), strict=True):
                if by_id.setdefault(id, label) != label:
                    by_id[id] = UNKNOWN
        labels = {id: label for id, label in by_id.items() if label != UNKNOWN}
        return Known(tuple(map(str, self.facts["classes"])), labels)


def read_pool(teach: Teach) -> Pool:
    """The pool of `data/`. Views and mixed inputs are made of what is stored."""
    data, split = Workspace().data, Workspace().split("train")
    facts = read_json(data.meta) | read_json(split.meta)
    ids = read_array(split.ids)
    pool = Pool(inputs_of(facts).read(split.path), read_array(split.labels), ids, facts, stored_ids(split, ids))
    return pool.of_stored() if teach.views > 1 or teach.mixed else pool


def stored_ids(split: Split, ids: np.ndarray) -> np.ndarray:
    """Content ids (N,) S64 of a split's samples as they are stored."""
    return read_array(split.stored_ids) if split.stored_ids.exists() else ids
