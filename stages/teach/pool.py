"""The pool of `data/`, of which a budget buys."""

from dataclasses import dataclass

import numpy as np

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs, Samples
from tuition.inputs.texts.files import read_references
from tuition.models.sequences import JOINT
from tuition.origins import objects
from tuition.params import Teach
from tuition.purchase.account import Known
from tuition.teachers.kinds import Facts
from tuition.teachers.shown import of_stored
from tuition.workspace import Split, Workspace

UNKNOWN = -1  # of a label


@dataclass(frozen=True)
class Pool:
    """The samples that may be bought (N, …), as they are stored, labels (N,), content ids (N,) S64, and facts of the data.

    `stored_ids` (N,) S64: of the samples as they are stored; `ids` are of the originals, the very same array where none was made smaller.
    `relevance` (m, 2): positions of a query and of a document that answers it, of a task of retrieval.
    """

    samples: Samples
    labels: np.ndarray
    ids: np.ndarray
    facts: Facts
    stored_ids: np.ndarray
    relevance: np.ndarray | None = None

    @property
    def distinct_ids(self) -> np.ndarray:
        """(N,) S64: the content ids, but that samples which look the same to a student go by the id of the first of them."""
        if self.stored_ids is self.ids:
            return self.ids
        _, first, same = np.unique(self.stored_ids, return_index=True, return_inverse=True)
        return self.ids[first][same]

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
        for ids in (self.ids,) if self.stored_ids is self.ids else (self.ids, self.stored_ids):
            for id, label in zip(ids.astype(str).tolist(), self.labels.tolist(), strict=True):
                if by_id.setdefault(id, label) != label:
                    by_id[id] = UNKNOWN
        labels = {id: label for id, label in by_id.items() if label != UNKNOWN}
        return Known(tuple(map(str, self.facts["classes"])), labels)


def read_pool(teach: Teach) -> Pool:
    """The pool of `data/`, as `teach` buys of it."""
    data, split = Workspace().data, Workspace().split("train")
    facts = read_json(data.meta) | read_json(split.meta)
    ids = read_array(split.ids)
    samples, labels = inputs_of(facts).read(split.path), read_array(split.labels)
    if facts.get("task") == "generate" and teach.texts == "references":
        samples = _with_references(samples, split)
        ids = np.array([inputs_of(facts).content_id(one) for one in samples], dtype="S64")
    relevance = read_array(split.relevance)[:, :2] if facts.get("task") == "retrieval" else None
    return Pool(samples, labels, ids, of_stored(teach, facts), stored_ids(split, ids), relevance)


def _with_references(prompts: Samples, split: Split) -> np.ndarray:
    """Prompts, each with its reference, as a teacher is shown what it is to score. Raises UserError where one has none."""
    references = read_references(split)
    if lacking := int((references == "").sum()):
        raise UserError(
            f"teach.texts: found references, but {lacking} of {len(references)} training prompts have none; leave these out, or set own"
        )
    return objects([f"{prompt}{JOINT}{text}" for prompt, text in zip(prompts, references, strict=True)])


def stored_ids(split: Split, ids: np.ndarray) -> np.ndarray:
    """Content ids (N,) S64 of a split's samples as they are stored."""
    return read_array(split.stored_ids) if split.stored_ids.exists() else ids
