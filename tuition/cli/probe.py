"""`tuition check --probe`: the first call of the smallest budget, paid and owned, and what the teacher said."""

import subprocess
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from tuition.errors import UserError
from tuition.origins import name as name_of
from tuition.params import Params
from tuition.signals import MAIN
from tuition.targets.classes import probabilities
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

    once = params.teacher.model_copy(
        update={"samples": 1}
    )  # the first of a sample's answers, where it is to have several
    params = params.model_copy(update={"teachers": [], "teacher": once})
    _prepare()
    pool = read_pool(params.teach)
    names = pool.facts["classes"]
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
    truth = f"; its label is {names[label]!r}" if label >= 0 else ""
    paid = "1 call paid" if new else "nothing paid, for the answer is owned"
    answer = in_words({name: values[0] for name, values in order.account.as_data(signals).items()}, names)
    return f"{paid}: of {name_of(plan.order.requests[0].sample)} the teacher says {answer}{truth}"


def in_words(answer: Mapping[str, np.ndarray], classes: Sequence[str]) -> str:
    """What an answer {signal: (…)} says: the class that it names, or its top class and that one's probability; else what it holds."""
    if "label" in answer:
        return repr(str(classes[int(answer["label"])]))
    if "logits" in answer:
        shares = probabilities(answer["logits"][None])[0]
        return f"{str(classes[int(shares.argmax())])!r} with {100 * shares.max():.0f} %"
    return ", ".join(f"{name} {values.shape}" for name, values in answer.items())


def _prepare() -> None:
    """Run `prepare` where the data is not there as params.yaml has it."""
    ran = subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", "prepare"])
    if ran.returncode or not Workspace().data.meta.is_file():
        raise UserError("the prepare stage failed (see above); nothing was paid")
