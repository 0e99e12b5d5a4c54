"""Bringing a ledger that an older Tuition wrote to the tables of this one: a list of functions, each applied once, in order.

Append only. A new ledger is made as `schema` has it, and counts as one that has seen them all.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import sqlalchemy as sa

from tuition.ledger import blocks, schema
from tuition.ledger.spending import DAY, Bound, Caps, to_json

BLOCK = 256


def create(db: sa.Connection) -> None:
    """Make the tables of this version."""
    schema.tables.create_all(db)


def _amounts_and_blocks(db: sa.Connection) -> None:
    """Version 1 counted calls alone, and kept each output in a row of its own."""
    schema.tables.create_all(db, tables=[schema.blocks, schema.parts, schema.spending])
    for statement in (
        "ALTER TABLE teachers ADD COLUMN caps TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE teachers ADD COLUMN spent_tokens BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE teachers ADD COLUMN spent_cost BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN budget_tokens BIGINT",
        "ALTER TABLE runs ADD COLUMN budget_cost BIGINT",
        "ALTER TABLE runs ADD COLUMN spent_tokens BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE runs ADD COLUMN spent_cost BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE calls ADD COLUMN tokens BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE calls ADD COLUMN block_id INTEGER REFERENCES blocks (id)",
        "ALTER TABLE calls ADD COLUMN place INTEGER",
        "ALTER TABLE calls DROP COLUMN key",  # it follows from teacher, sample and view
    ):
        db.exec_driver_sql(statement)
    for id, cap in db.execute(sa.text("SELECT id, cap FROM teachers WHERE cap IS NOT NULL")).all():
        caps = to_json(Caps(life=Bound(calls=cap)))
        db.execute(sa.text("UPDATE teachers SET caps = :caps WHERE id = :id"), {"caps": caps, "id": id})
    db.exec_driver_sql("ALTER TABLE teachers DROP COLUMN cap")
    live = "state <> 'refunded'"
    db.exec_driver_sql(
        f"UPDATE teachers SET spent_cost = (SELECT COALESCE(SUM(cost), 0) FROM calls WHERE teacher_id = teachers.id AND {live})"
    )
    db.exec_driver_sql(
        "INSERT INTO spending (teacher_id, day, calls, tokens, cost) "
        f"SELECT teacher_id, CAST(FLOOR(reserved_at / {DAY}) AS INTEGER) AS day, COUNT(*), 0, SUM(cost) FROM calls "
        f"WHERE {live} AND reserved_at IS NOT NULL GROUP BY teacher_id, CAST(FLOOR(reserved_at / {DAY}) AS INTEGER)"
    )
    for name in ("reserved_at", "sent_at", "ended_at"):
        db.exec_driver_sql(f"UPDATE calls SET {name} = CAST({name} AS INTEGER)")
    db.exec_driver_sql("UPDATE calls SET reserved_at = NULL, sent_at = NULL WHERE state = 'done'")
    for some in _old_outputs(db):
        blocks.store(db, some)
    db.exec_driver_sql("DROP TABLE outputs")


def _old_outputs(db: sa.Connection) -> Iterator[list[tuple[int, dict[str, np.ndarray]]]]:
    """Outputs of version 1, by call, BLOCK calls at a time. A damaged one is left out: its call is then one without an output."""
    after = -1
    while True:
        chosen = sa.text("SELECT DISTINCT call_id FROM outputs WHERE call_id > :after ORDER BY call_id LIMIT :number")
        ids = list(db.scalars(chosen, {"after": after, "number": BLOCK}))
        if not ids:
            return
        between = sa.text("SELECT * FROM outputs WHERE call_id BETWEEN :first AND :last")
        found: dict[int, dict[str, np.ndarray]] = {}
        for row in db.execute(between, {"first": ids[0], "last": ids[-1]}):
            payload = bytes(row.payload)
            if hashlib.blake2b(payload, digest_size=8).digest() == bytes(row.checksum):
                type, _, shape = row.type.rstrip("]").partition("[")
                value = np.frombuffer(payload, dtype=type).reshape([int(n) for n in shape.split(",") if n.strip()])
                found.setdefault(row.call_id, {})[row.signal] = value
        if found:
            yield sorted(found.items())
        after = ids[-1]


def _smaller_calls(db: sa.Connection) -> None:
    """Version 2 wrote `clean` into every call, and whole hashes into the index."""
    db.exec_driver_sql("DROP INDEX one_live_call")
    db.exec_driver_sql("UPDATE calls SET view = '' WHERE view = 'clean'")
    schema.one_live_call.create(db)


def _states_are_columns(db: sa.Connection) -> None:
    """Version 3 told by the text of `detail` whether an answer can be used, and whether a call was sent again."""
    for statement in (
        "ALTER TABLE calls ADD COLUMN usable BOOLEAN",
        "ALTER TABLE calls ADD COLUMN resent BOOLEAN DEFAULT FALSE NOT NULL",
        "UPDATE calls SET usable = (detail IS NULL) WHERE state = 'done'",
        # As versions 2 and 3 began the detail of a call that was sent again and is not answered.
        "UPDATE calls SET resent = TRUE WHERE state IN ('reserved', 'sent', 'unknown') AND SUBSTR(detail, 1, 10) = 'sent again'",
    ):
        db.exec_driver_sql(statement)


def _classes_of_answers(db: sa.Connection) -> None:
    """Version 4 did not know of which classes answers speak."""
    db.exec_driver_sql("ALTER TABLE teachers ADD COLUMN classes TEXT")


def _who_answered(db: sa.Connection) -> None:
    """Version 5 did not keep whom answers name, what only a total counts, and where a teacher is asked."""
    schema.tables.create_all(db, tables=[schema.identities])
    for statement in (
        "ALTER TABLE calls ADD COLUMN identity_id INTEGER",
        "ALTER TABLE calls ADD COLUMN unlisted_tokens BIGINT",
        "ALTER TABLE teachers ADD COLUMN place TEXT",
    ):
        db.exec_driver_sql(statement)


# From version 1 to 2, from 2 to 3, and so on.
MIGRATIONS = [_amounts_and_blocks, _smaller_calls, _states_are_columns, _classes_of_answers, _who_answered]
NEWEST = 1 + len(MIGRATIONS)
