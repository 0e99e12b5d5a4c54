"""`python -m stages.teach <budget>`: own the outputs of the first <budget> samples in the order of purchase, and export them.

With `teach.views` the first <budget> views of samples, so many of each; with `teach.mixed` also half as many mixed inputs, to
outputs/<budget>/mixed/; with `teachers` what each of them answers to the same, to outputs/<budget>/teachers/<name>/. With
`teach.evaluation` so many of its calls go to samples of val and test, to outputs/<budget>/evaluation/.
"""

from pathlib import Path

from stages.teach.bill import Bought, print_bill, write_bill
from stages.teach.export import export
from stages.teach.plan import Plan, make_plan
from stages.teach.pool import Pool, read_pool
from stages.teach.seen import Seen, check_nothing_owned_of_stored
from tuition import params as parameters
from tuition.errors import UserError, read_arguments, run
from tuition.ledger.database import open_ledger
from tuition.params import Params
from tuition.preflight import Labelled, check_methods, check_shapes, check_student
from tuition.preflight.documents import check_budget
from tuition.purchase import further
from tuition.purchase.own import open_order, own, own_in_rounds
from tuition.signals import MAIN
from tuition.teachers import InProcess, Teacher
from tuition.teachers.table.teacher import table_of
from tuition.tracking import check_store
from tuition.workspace import given


def main(argv: list[str]) -> None:
    (budget,) = read_arguments("stages.teach", argv, budget=int)
    params = parameters.load()
    pool = read_pool(params.teach)
    teacher = further.load_for(params.teacher, pool.facts)
    further_teachers = further.load_further(params.teachers, pool.facts, teacher)
    plan = make_plan(params, pool, budget, {MAIN: teacher, **further_teachers})
    _check(params, pool, plan, teacher, further_teachers)
    _tell_tables(params, {params.teacher.name: teacher, **further_teachers})

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
    bought = Bought(
        order, order.read_standing(), usable.main, new, new_mixed, new_evaluation, _shortened(pool, teacher, plan.seen)
    )
    also = {
        name: Bought(
            one,
            one.read_standing(),
            usable.further[name],
            new_further[name],
            shortened=_shortened(pool, further_teachers[name], plan.further_seen[name]),
        )
        for name, one in further_orders.items()
    }
    write_bill(budget, bought, also)
    print_bill(budget, bought, also)


def _shortened(pool: Pool, teacher: Teacher, seen: Seen) -> int:
    """Of how many of the texts that are bought a teacher is not shown all; images are not read for it."""
    return teacher.shortened(seen(seen.requests)) if pool.inputs.NAME == "texts" else 0


def _check(params: Params, pool: Pool, plan: Plan, teacher: Teacher, others: dict[str, Teacher]) -> None:
    """Raises UserError where a teacher does not fit the methods; `others`: those of `teachers` by name. None is asked."""
    families = {name: one.families for name, one in others.items()}
    labelled = Labelled.of(pool.labels, plan.bought.positions)
    if params.data.task == "generate":
        _check_lengths(teacher, pool)
    check_methods(params, teacher.families, families, pool.inputs.NAME, labelled)
    if "documents" in pool.facts:
        check_budget(params, pool.facts["documents"], len(plan.bought))
    elif plan.order.evaluation and not {"logits", "label"} & set(teacher.families):
        raise UserError(
            f"teach.evaluation: students are held against the teacher's top class, but it gives only {', '.join(teacher.families)}"
        )
    check_student(params, pool.facts)
    if params.teacher.kind == "checkpoint" and isinstance(teacher, InProcess):
        check_shapes(params, pool.facts, teacher)


def _check_lengths(teacher: Teacher, pool: Pool) -> None:
    """Raises UserError where a prompt or a text is longer than the teacher's context."""
    from tuition.teachers.language import LanguageTeacher  # torch is for those who ask it

    if isinstance(teacher, InProcess) and isinstance(teacher.model, LanguageTeacher):
        teacher.model.check(pool.samples)


def _tell_tables(params: Params, teachers: dict[str, Teacher]) -> None:
    """Say which samples tables have no answer to, and which table may change unnoticed."""
    for settings in (params.teacher, *params.teachers):
        if (table := table_of(teachers[settings.name])) is None:
            continue
        for line in table.told():
            print(f"teacher {settings.name!r}: {line}")
        watched, file = Path(params.teach.watch).resolve(), given(table.path).resolve()
        if file != watched and watched not in file.parents:
            print(
                f"teach.watch: {params.teach.watch!r} is not {table.path!r}, so a changed table will not re-run this stage"
            )


if __name__ == "__main__":
    run(main)
