"""What is owned: which samples, in which state, and the values. `samples` are asks (`asks`), and so may be views of samples.

The outputs of an ask may come from several calls: one for its view (such as `clean`), and a further one for each set of signals that
was asked for later, under the view `clean+<signals>`, so that it too is one call that is paid once.
"""

from collections.abc import Collection, Sequence

import numpy as np
import sqlalchemy as sa

from tuition.ledger import blocks
from tuition.ledger.database import Ledger, LedgerError
from tuition.ledger.keys import CHUNK, CLEAN, find, keyed
from tuition.ledger.schema import calls, is_live
from tuition.ledger.schema import parts as block_parts


def further(view: str, signals: Collection[str]) -> str:
    """The view under which `signals` are bought of samples that are owned without them."""
    return f"{view}+{','.join(sorted(signals))}"


def states(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> dict[str, str]:
    """The state of the live call of each of `samples`: reserved | sent | unknown | owned | unusable; others are absent.

    `owned`: the outputs are here. `unusable`: charged, but the answer was malformed or lost.
    """
    found = {}
    with ledger.read() as db:
        columns = (calls.c.state, calls.c.detail)
        for ask, row in find(db, teacher_id, keyed(samples, view), columns, is_live):
            done = "unusable" if row.detail else "owned"
            found[ask] = done if row.state == "done" else row.state
    return found


def signals(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> dict[str, set[str]]:
    """The names of the signals that are owned of each of `samples`, whatever call brought them; others are absent."""
    of_block: dict[int, set[str]] = {}
    found: dict[str, set[str]] = {}
    with ledger.read() as db:
        done = (is_live, calls.c.state == "done", calls.c.block_id.is_not(None))
        held = list(find(db, teacher_id, keyed(samples, view), (calls.c.block_id,), *done, further=True))
        blocks_of = sorted({row.block_id for _, row in held})
        for start in range(0, len(blocks_of), CHUNK):
            some = block_parts.c.block_id.in_(blocks_of[start : start + CHUNK])
            for row in db.execute(sa.select(block_parts.c.block_id, block_parts.c.signal).where(some)):
                of_block.setdefault(row.block_id, set()).add(row.signal)
    for ask, row in held:
        if row.block_id in of_block:
            found.setdefault(ask, set()).update(of_block[row.block_id])
    return found


def read(
    ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN, signals: Collection[str] | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """The owned outputs of `samples` (distinct), in their order, without those that lack one of `signals`.

    `signals` None stands for all that any of them has. Returns (places (n,) int64 into `samples`, {signal: (n, …)}, costs (n,)
    int64 in millionths). Raises LedgerError where a stored output does not match its checksum.
    """
    place = {sample: i for i, sample in enumerate(samples)}
    values: dict[str, dict[int, np.ndarray]] = {signal: {} for signal in signals or ()}
    cost: dict[int, dict[int, int]] = {}  # by sample and call
    columns = (calls.c.id, calls.c.cost, calls.c.block_id, calls.c.place)
    done = (is_live, calls.c.state == "done", calls.c.block_id.is_not(None))
    with ledger.read() as db:
        held: dict[int, list[tuple[str, sa.Row]]] = {}  # by block
        for ask, row in find(db, teacher_id, keyed(samples, view), columns, *done, further=True):
            held.setdefault(row.block_id, []).append((ask, row))
        for part in blocks.read(db, held, signals):
            for ask, row in held[part.block]:
                if not part.is_whole(row.place):
                    raise LedgerError(
                        f"ledger {ledger.place}: {part.signal!r} of sample {ask} is damaged (its checksum differs)"
                    )
                values.setdefault(part.signal, {})[place[ask]] = part.value(row.place)
                cost.setdefault(place[ask], {})[row.id] = row.cost
    whole = [i for i in sorted(cost) if all(i in held for held in values.values())]
    arrays = {signal: np.stack([held[i] for i in whole]) for signal, held in sorted(values.items()) if whole}
    return (
        np.array(whole, dtype=np.int64),
        arrays,
        np.array([int(sum(cost[i].values())) for i in whole], dtype=np.int64),
    )


def cost(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> float:
    """What the live calls for `samples` cost together, those whose answers cannot be used among them."""
    with ledger.read() as db:
        found = find(db, teacher_id, keyed(samples, view), (calls.c.cost,), is_live, further=True)
        return int(sum(row.cost for _, row in found)) / 1_000_000


def further_calls(ledger: Ledger, teacher_id: int, samples: Sequence[str], view: str = CLEAN) -> int:
    """How many live calls there are for further signals of `samples`."""
    with ledger.read() as db:
        found = find(db, teacher_id, keyed(samples, view), (), is_live, further=True)
        return sum("+" in row.view for _, row in found)
