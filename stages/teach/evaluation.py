"""What a budget buys of val and test, where data has no labels at all: what students are then held against.

`teach.evaluation: n` spends n of every budget's calls so: a third on val, the rest on test (or what there is of the one, and more of
the other). Which samples, follows from `teach.seed` alone, so they are the same for every budget and are paid once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.teach.pool import Pool, stored_ids
from stages.teach.seen import Part, Seen, show, stacked
from tuition.errors import UserError
from tuition.files import read_array
from tuition.ledger.keys import Request
from tuition.params import Params, Teach
from tuition.selection.order import purchase_order
from tuition.teachers.kinds import Facts
from tuition.teachers.table.teacher import TableTeacher
from tuition.workspace import Workspace

SPLITS = ("val", "test")
SHARE = 3  # one call in so many is for val


@dataclass(frozen=True)
class HeldOut:
    """`rows`: of each request in the order of purchase, the split and the sample's place there; `ids` (N,) S64: content ids of each split,
    `seen`: what the teacher is shown of it."""

    rows: dict[Request, tuple[str, int]]
    ids: dict[str, np.ndarray]
    seen: dict[str, Seen]

    def split_of(self, request: Request) -> str:
        return self.rows[Request(request.sample)][0]

    @property
    def reads_files(self) -> bool:
        """Whether showing them takes long."""
        return any(one.reads_files for one in self.seen.values())

    def __call__(self, requests: Sequence[Request]) -> np.ndarray:
        """What the teacher is shown (B, …) for requests for samples of val and test."""
        splits = [self.split_of(one) for one in requests]
        return stacked([self.seen[split]([one])[0] for split, one in zip(splits, requests, strict=True)])


def plan_evaluation(params: Params, pool: Pool, budget: int, table: TableTeacher | None = None) -> HeldOut:
    """What is bought of val and test, of a table what it has.

    Raises UserError as `check_evaluation`, and where there are not so many samples.
    """
    if budget == 1:  # a single call, such as `tuition check --probe` makes, is one of the pool
        return HeldOut({}, {}, {})
    check_evaluation(params.teach, pool.facts, budget, params.teacher.samples)
    return _draw(params, pool, table) if params.teach.evaluation else HeldOut({}, {}, {})


def check_evaluation(teach: Teach, facts: Facts, budget: int, samples: int = 1) -> None:
    """Raises UserError where answers to val and test are needed that are not asked for, or cannot be had of a budget; `samples`:
    `teacher.samples`."""
    by_teacher = facts.get("evaluated_by") == "teacher"
    if by_teacher and not teach.evaluation:
        raise UserError(
            "teach.evaluation: found 0, but no sample of val and test has a label, so nothing could tell how good a student is. Give a "
            "small labelled set (data.evaluation), or set the number of every budget's calls to spend on val and test, such as "
            f"{max(2, budget // 4)}: students are then held against the teacher's answers"
        )
    if teach.evaluation and not by_teacher and facts.get("task") != "retrieval":
        raise UserError(
            f"teach.evaluation: found {teach.evaluation}, but val and test have labels, which cost no call; set 0"
        )
    if teach.evaluation and not 2 * samples <= teach.evaluation <= budget - samples:
        each = f", each asked for {samples} times (teacher.samples)" if samples > 1 else ""
        raise UserError(
            f"teach.evaluation: {teach.evaluation} of a budget of {budget} calls (study.budgets) are for samples of val and test{each}; "
            f"valid: {2 * samples} to {budget - samples}"
        )


def _draw(params: Params, pool: Pool, table: TableTeacher | None) -> HeldOut:
    here, teach = Workspace(), params.teach
    ids = {split: read_array(here.split(split).ids) for split in SPLITS}
    orders = {
        split: purchase_order(
            "random", some, np.full(len(some), -1), teach.seed, among=None if table is None else table.has(some)
        )
        for split, some in ids.items()
    }
    # What is in the pool too may be bought there.
    able = {split: [int(row) for row in orders[split] if not np.isin(ids[split][row], pool.ids)] for split in SPLITS}
    val, test = (len(able[split]) for split in SPLITS)
    times = params.teacher.samples
    number = teach.evaluation // times
    answered = "" if table is None else f" with an answer in {table.path}"
    if number > val + test or not (val and test):
        raise UserError(
            f"teach.evaluation: {teach.evaluation} calls, but val has {val} samples{answered} and test {test}; valid: {2 * times} to "
            f"{(val + test) * times}, with some in each (data.val, data.test)"
        )
    first = min(val, max(1, number // SHARE, number - test))
    counts = {"val": first, "test": number - first}
    rows: dict[Request, tuple[str, int]] = {}
    seen: dict[str, Seen] = {}
    for split in SPLITS:
        places = np.array(able[split][: counts[split]], dtype=np.int64)
        stored = stored_ids(here.split(split), ids[split])
        part = Part(split, ids[split], stored, pool.inputs.read(here.split(split).path))
        seen[split] = show(params.data, params.teacher, pool, part, places)
        rows |= {request: (split, row) for request, row in zip(seen[split].requests, places.tolist(), strict=True)}
    return HeldOut(rows, ids, seen)
