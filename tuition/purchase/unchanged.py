"""Whether a table still says what it said of samples that are owned: it is known by name and version, not by what its file holds.

Looked at before anything is bought, so that a file whose answers changed is told from one that only grew.
"""

from tuition.errors import UserError
from tuition.ledger import owned
from tuition.ledger.keys import Request
from tuition.origins import name
from tuition.purchase.account import Account
from tuition.purchase.recheck import changes
from tuition.targets.classes import TOLERANCE
from tuition.teachers.table.teacher import table_of

EXAMPLES = 3


def check(account: Account, requests: list[Request]) -> None:
    """Raises UserError where a table's answers to owned samples are others by now, of logits by more than 1e-3 of a probability."""
    table = table_of(account.teacher)
    if table is None or not requests:
        return
    signal = table.signals[0]
    places, signals, _ = owned.read(account.ledger, account.id, requests, signals=[signal])
    if not len(places):
        return
    samples = [requests[place].sample for place in places]
    old, new = account.as_data(signals)[signal], table.answers([one.encode() for one in samples])[signal]
    other = [sample for sample, change in zip(samples, changes(old, new, signal), strict=True) if change > TOLERANCE]
    if other:
        named, more = ", ".join(name(one) for one in other[:EXAMPLES]), ", …" if len(other) > EXAMPLES else ""
        raise UserError(
            f"{table.where}: {len(other):,} of {len(samples):,} answers that are owned are others in this file ({named}{more}). Nothing "
            "was bought. Bring the file back as it was, or change teacher.version: then it is another teacher, whose answers are all "
            "owned anew"
        )
