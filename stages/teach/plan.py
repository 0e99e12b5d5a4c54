"""What a budget buys, as a value: decided before any teacher is asked, and before the ledger is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypedDict

import numpy as np

from stages.teach.evaluation import HeldOut, plan_evaluation
from stages.teach.pool import Pool
from stages.teach.pool import read_pool as read_pool  # `tuition check --probe` reads it here
from tuition import features
from tuition.errors import UserError
from tuition.inputs.bought import Bought
from tuition.ledger.keys import Request
from tuition.params import BY_FEATURES, Params
from tuition.purchase import views
from tuition.purchase.mixed import Mixtures, plan_mixtures
from tuition.purchase.order import Order, make_order
from tuition.purchase.recheck import samples_for
from tuition.selection.order import purchase_order


class Drawing(TypedDict):
    """How views were drawn."""

    number: int
    crop: int
    flip: bool


@dataclass(frozen=True)
class Plan:
    """What `budget` calls buy.

    `order`: what `teacher` is asked for, `further`: what each of `teachers` is. `bought`: the samples of `order`, row for row,
    made when they are asked for; `drawing`: how their views were drawn; None: there are none but the samples as they are. `mixtures`:
    mixed inputs that are bought beside them.
    `evaluation`: what is bought of val and test.
    """

    budget: int
    order: Order
    further: dict[str, Order]
    bought: Bought
    drawing: Drawing | None
    mixtures: Mixtures
    evaluation: HeldOut

    @cached_property
    def _rows(self) -> dict[tuple[str, str], int]:
        return {(one.sample, one.view): row for row, one in enumerate(self.order.requests)}

    def samples_of(self, requests: Sequence[Request]) -> np.ndarray:
        """(B, …) of requests for samples and views, the first time or again."""
        return self.bought[[self._rows[one.sample, one.view] for one in requests]]

    def mixtures_of(self, requests: Sequence[Request]) -> np.ndarray:
        """(B, …) of requests for mixed inputs."""
        return self.mixtures.inputs[[self.mixtures.rows[Request(one.sample, one.view)] for one in requests]]


def make_plan(params: Params, pool: Pool, budget: int) -> Plan:
    """What `budget` calls buy of the pool, and of val and test. Raises UserError where there are not so many samples or views."""
    teach, main = params.teach, params.teacher.recheck
    evaluation = plan_evaluation(teach, pool, budget)
    budget, whole = budget - len(evaluation.rows), budget
    chosen = _choose(params, pool, budget)
    size = pool.inputs.view_size(pool.facts) if teach.views > 1 else None
    requests, positions, drawn = views.plan_views(chosen, pool.ids, samples_for(budget, main), teach, size)
    room = budget if teach.mixed and budget > 1 else 0
    mixtures = plan_mixtures(pool.inputs, chosen, pool.samples, pool.ids, room, teach.seed, set(requests))
    drawing: Drawing = {"number": teach.views, "crop": teach.crop, "flip": teach.flip}
    return Plan(
        budget=whole,
        order=make_order(requests, budget, main, mixtures.requests, tuple(evaluation.rows)),
        further={one.name: make_order(requests, budget, one.recheck) for one in params.teachers},
        bought=Bought(pool.inputs, pool.samples, positions, drawn),
        drawing=drawing if teach.views > 1 else None,
        mixtures=mixtures,
        evaluation=evaluation,
    )


def _encoded(params: Params, pool: Pool) -> np.ndarray | None:
    """The features of the pool's samples, where the strategy looks at them and `encode` made them."""
    if (
        params.encode.source == features.NONE
        or params.teach.strategy not in BY_FEATURES
        or params.teach.guide is not None
    ):
        return None
    return features.read("train", len(pool.ids))


def _choose(params: Params, pool: Pool, budget: int) -> np.ndarray:
    """Positions in the pool in the order of purchase, of which the first are bought."""
    teach = params.teach
    if teach.views > 1:
        views.check(teach.views, pool.inputs.view_size(pool.facts), teach.crop, teach.flip)
    order = purchase_order(
        teach.strategy,
        pool.ids,
        pool.labels,
        teach.seed,
        inputs=pool.inputs,
        samples=pool.samples,
        classes=pool.facts["classes"],
        limit=-(-budget // teach.views),
        guide=teach.guide,
        encoded=_encoded(params, pool),
    )
    most = len(order) * teach.views
    if not 1 <= budget <= most:
        each = f", each bought in {teach.views} views (teach.views)" if teach.views > 1 else ""
        raise UserError(
            f"study.budgets: {budget} calls, but the pool has {len(order)} distinct samples{each}; valid: 1 to {most}"
        )
    return order
