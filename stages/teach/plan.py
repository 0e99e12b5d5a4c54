"""What a budget buys, as a value: decided before any teacher is asked, and before the ledger is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from stages.teach.evaluation import HeldOut, plan_evaluation
from stages.teach.pool import Pool
from stages.teach.pool import read_pool as read_pool  # `tuition check --probe` reads it here
from stages.teach.seen import Part, Seen, show, show_stored
from tuition import features
from tuition.errors import UserError
from tuition.inputs.bought import Bought
from tuition.ledger.keys import Request
from tuition.params import BY_FEATURES, Params
from tuition.params.teacher import TeacherSettings
from tuition.purchase import views
from tuition.purchase.mixed import Mixtures, plan_mixtures
from tuition.purchase.order import Order, make_order, samples_for
from tuition.purchase.repeats import Repeats, repeats_of
from tuition.selection.order import purchase_order
from tuition.signals import MAIN
from tuition.teachers import Teacher
from tuition.teachers.table.teacher import TableTeacher, table_of


class Drawing(TypedDict):
    """How views were drawn."""

    number: int
    crop: int
    flip: bool


@dataclass(frozen=True)
class Plan:
    """What `budget` calls buy.

    `order`: what `teacher` is asked for, `further`: what each of `teachers` is; `seen`, `further_seen`: what they are shown of it.
    `bought`: the samples of `order` as students see them, row for row, made when they are asked for;
    `drawing`: how their views were drawn; None: there are none but the samples as they are. `mixtures`: mixed inputs that are bought
    beside them. `evaluation`: what is bought of val and test.
    """

    budget: int
    order: Order
    further: dict[str, Order]
    bought: Bought
    drawing: Drawing | None
    mixtures: Mixtures
    evaluation: HeldOut
    seen: Seen
    further_seen: dict[str, Seen]

    def mixtures_of(self, requests: Sequence[Request]) -> np.ndarray:
        """(B, …) of requests for mixed inputs."""
        return self.mixtures.inputs[[self.mixtures.rows[Request(one.sample, one.view)] for one in requests]]


def make_plan(params: Params, pool: Pool, budget: int, teachers: Mapping[str, Teacher]) -> Plan:
    """What `budget` calls buy of the pool, and of val and test, of these teachers by name (`MAIN`: the section `teacher`).

    A table is asked for what it has an answer to, in the order of purchase. Raises UserError where there are not so many samples or views.
    """
    teach, main = params.teach, params.teacher
    tables = {name: table for name, one in teachers.items() if (table := table_of(one)) is not None}
    evaluation = plan_evaluation(params, pool, budget, tables.get(MAIN))
    budget, whole = budget - len(evaluation.rows) * main.samples, budget
    listed = teach.strategy == "file"
    repeats = repeats_of(main, budget, listed)
    chosen = _choose(params, pool, budget, repeats, tables.get(MAIN))
    size = pool.inputs.view_size(pool.facts) if teach.views > 1 else None
    number = samples_for(budget, main, repeats)
    requests, positions, drawn = views.plan_views(chosen, pool.asked_ids, number, teach, size)
    bought = Bought(pool.inputs, pool.samples, positions, drawn)
    room = budget if teach.mixed and budget > 1 else 0
    mixtures = plan_mixtures(pool.inputs, chosen, pool.samples, pool.asked_ids, room, teach.seed, set(requests))

    part = Part("train", pool.ids, pool.stored_ids, pool.samples)

    def seen_by(settings: TeacherSettings) -> Seen:
        if drawn is None:
            return show(params.data, settings, pool, part, positions)
        return show_stored(settings, requests, pool.ids[positions], bought)

    seen = seen_by(params.teacher)
    further_seen = {one.name: seen_by(one) for one in params.teachers}
    further = {
        one.name: make_order(
            _answered(further_seen[one.name].requests, one.name, tables.get(one.name)),
            budget,
            one,
            repeats_of(one, budget, listed),
        )
        for one in params.teachers
    }
    drawing: Drawing = {"number": teach.views, "crop": teach.crop, "flip": teach.flip}
    return Plan(
        budget=whole,
        order=make_order(seen.requests, budget, main, repeats, mixtures.requests, tuple(evaluation.rows)),
        further=further,
        bought=bought,
        drawing=drawing if teach.views > 1 else None,
        mixtures=mixtures,
        evaluation=evaluation,
        seen=seen,
        further_seen=further_seen,
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


def _answered(requests: tuple[Request, ...], name: str, table: TableTeacher | None) -> tuple[Request, ...]:
    """Those of the requests that a further teacher can be asked: of a table what it has. Raises UserError where that is nothing."""
    if table is None:
        return requests
    has = table.has(np.array([one.sample for one in requests], dtype="S64"))
    if not has.any():
        raise UserError(
            f"teachers: {name!r}: {table.where}: has an answer to none of the {len(requests)} samples that are bought"
        )
    return tuple(one for one, there in zip(requests, has, strict=True) if there)


def _choose(params: Params, pool: Pool, budget: int, repeats: Repeats, table: TableTeacher | None) -> np.ndarray:
    """Positions in the pool in the order of purchase, of which the first are bought."""
    teach = params.teach
    if teach.views > 1:
        views.check(teach.views, pool.inputs.view_size(pool.facts), teach.crop, teach.flip)
    among = None if table is None else table.has(pool.ids)
    distinct = pool.distinct_ids
    able = len(np.unique(distinct if among is None else distinct[among]))
    least, most = repeats.times, able * teach.views * repeats.times + repeats.twice
    if not least <= budget <= most:
        each = f", each bought in {teach.views} views (teach.views)" if teach.views > 1 else ""
        each += f", each asked for {least} times (teacher.samples)" if least > 1 else ""
        each += ", of which one is asked for twice" if repeats.twice else ""
        each = each if table is None else f" with an answer in {table.path} (teacher.path)"
        raise UserError(
            f"study.budgets: {budget} calls, but the pool has {able} distinct samples{each}; valid: {least} to {most}"
        )
    return purchase_order(
        teach.strategy,
        distinct,
        pool.labels,
        teach.seed,
        inputs=pool.inputs,
        samples=pool.samples,
        classes=pool.facts["classes"],
        limit=-(-repeats.samples_for(budget) // teach.views),
        guide=teach.guide,
        among=among,
        encoded=_encoded(params, pool),
        relevance=pool.relevance,
        documents=pool.facts.get("documents"),
    )
