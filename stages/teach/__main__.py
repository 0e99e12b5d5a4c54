"""`python -m stages.teach <budget>`: own the outputs of the first <budget> samples in the order of purchase, and export them.

With `teach.views` the first <budget> views of samples, so many of each; with `teach.mixed` also half as many mixed inputs, to
outputs/<budget>/mixed/; with `teachers` what each of them answers to the same, to outputs/<budget>/teachers/<name>/. With
`teach.evaluation` so many of its calls go to samples of val and test, to outputs/<budget>/evaluation/.
"""

from stages.teach.bill import Bought, print_bill, write_bill
from stages.teach.export import export
from stages.teach.plan import Plan, make_plan
from stages.teach.pool import Pool, read_pool
from stages.teach.seen import check_nothing_owned_of_stored
from tuition import params as parameters
from tuition.errors import UserError, read_arguments, run
from tuition.ledger.database import open_ledger
from tuition.params import Params
from tuition.preflight import Labelled, check_methods, check_shapes, check_student
from tuition.purchase import further
from tuition.purchase.own import open_order, own, own_in_rounds
from tuition.teachers import InProcess, Teacher
from tuition.tracking import check_store


def main(argv: list[str]) -> None:
    (budget,) = read_arguments("stages.teach", argv, budget=int)
    params = parameters.load()
    pool = read_pool(params.teach)
    plan = make_plan(params, pool, budget)
    teacher, further_teachers = _load_teachers(params, pool, plan)

    ledger, known = open_ledger(), pool.known
    order = open_order(ledger, teacher, params.teacher, known, plan.order)
    further_orders = further.open_orders(ledger, params.teachers, further_teachers, known, plan.further)

    check_nothing_owned_of_stored(order, plan.seen, pool.facts)
    for name, one in further_orders.items():
        check_nothing_owned_of_stored(one, plan.further_seen[name], pool.facts)
    if any(one.buys for one in (order, *further_orders.values())):
        check_store()  # where the study is to end

    title = f"teach {budget}"
    new_evaluation = own(
        order.account, plan.order.evaluation, order.before, plan.evaluation, f"{title} validation and test"
    )
    new = own_in_rounds(order, plan.seen, title)
    new_mixed = own(order.account, plan.order.mixed, order.before, plan.mixtures_of, f"{title} mixed")
    new_further = further.each(
        further_orders, lambda name, one: own_in_rounds(one, plan.further_seen[name], f"{title} {name}")
    )

    usable = export(plan, params.teach, order, further_orders)
    bought = Bought(order, order.read_standing(), usable.main, new, new_mixed, new_evaluation)
    also = {
        name: Bought(one, one.read_standing(), usable.further[name], new_further[name])
        for name, one in further_orders.items()
    }
    write_bill(budget, bought, also)
    print_bill(budget, bought, also)


def _load_teachers(params: Params, pool: Pool, plan: Plan) -> tuple[Teacher, dict[str, Teacher]]:
    """`teacher`, and those of `teachers` by name; none is asked. Raises UserError where one does not fit the data or the methods."""
    teacher = further.load_for(params.teacher, pool.facts)
    others = further.load_further(params.teachers, pool.facts, teacher)
    families = {name: one.families for name, one in others.items()}
    labelled = Labelled.of(pool.labels, plan.bought.positions)
    check_methods(params, teacher.families, families, pool.inputs.NAME, labelled)
    if plan.order.evaluation and not {"logits", "label"} & set(teacher.families):
        raise UserError(
            f"teach.evaluation: students are held against the teacher's top class, but it gives only {', '.join(teacher.families)}"
        )
    check_student(params, pool.facts)
    if params.teacher.kind == "checkpoint" and isinstance(teacher, InProcess):
        check_shapes(params, pool.facts, teacher)
    return teacher, others


if __name__ == "__main__":
    run(main)
