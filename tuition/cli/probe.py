"""`tuition check --probe`: the first call of the smallest budget, paid and owned, and what the teacher said."""

import subprocess
import sys

import numpy as np

from tuition.errors import UserError
from tuition.params import Params
from tuition.signals import MAIN
from tuition.workspace import Workspace


def probe(params: Params) -> str:
    """Buy the first sample in the order of purchase, as `teach` would; returns what was asked and answered, in words.

    The call is owned like any other: a budget that holds the sample does not pay for it again. Raises UserError as `teach` does.
    """
    from stages.teach.plan import make_plan, read_pool
    from tuition.ledger import owned
    from tuition.ledger.database import open_ledger
    from tuition.purchase.further import load_for
    from tuition.purchase.own import open_order, own_in_rounds

    _prepare()
    pool = read_pool(params.teach)
    names = pool.facts["classes"]
    once = params.teacher.model_copy(
        update={"samples": 1}
    )  # the first of a sample's answers, where it is to have several
    params = params.model_copy(update={"teachers": [], "teacher": once})
    teacher = load_for(params.teacher, pool.facts)
    plan = make_plan(params, pool, 1, {MAIN: teacher})
    order = open_order(open_ledger(), teacher, params.teacher, pool.known, plan.order)
    new = own_in_rounds(order, plan.seen, "probe")
    places, signals, _ = owned.read(
        order.account.ledger, order.account.id, plan.order.requests, signals=teacher.signals
    )
    if not len(places):
        raise UserError("the call was charged and gave nothing usable; see `tuition ledger calls --malformed`")
    label = int(pool.labels[plan.bought.positions[0]])
    said = names[int(np.argmax(signals["logits"][0]))] if "logits" in signals else ", ".join(signals)
    truth = f"; its label is {names[label]!r}" if label >= 0 else ""
    return f"{new} call paid: of sample {plan.order.requests[0].sample[:12]} the teacher says {said!r}{truth}"


def _prepare() -> None:
    """Run `prepare` where the data is not there as params.yaml has it."""
    ran = subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", "prepare"])
    if ran.returncode or not Workspace().data.meta.is_file():
        raise UserError("the prepare stage failed (see above); nothing was paid")
