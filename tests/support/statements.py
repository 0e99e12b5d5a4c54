"""The statements that a ledger is sent, as a test sees them."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from tuition.ledger.database import Ledger


@contextmanager
def statements(ledger: Ledger) -> Iterator[list[str]]:
    """The statements that are sent to the ledger's engine within the block, in order; BEGIN and PRAGMA are none."""
    sent: list[str] = []

    def note(_connection, _cursor, statement, _parameters, _context, _many):
        if statement.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE"):
            sent.append(statement)

    sa.event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(ledger.engine, "before_cursor_execute", note)
