"""Opening: where the ledger is, and that a damaged one is named and left as it is."""

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from support.answers import at_cost

from tuition.ledger import accounts, calls, database, schema
from tuition.ledger.database import LedgerError, open_ledger
from tuition.ledger.keys import Request


@pytest.fixture
def filled(tmp_path) -> Path:
    ledger = open_ledger(str(tmp_path / "l.db"))
    id = accounts.open_account(ledger, "cd" * 32, "t", {}, None)
    run = calls.start_run(ledger, id, 300)
    made = calls.reserve(ledger, run, [Request(f"{i:064x}") for i in range(300)])
    calls.mark_sent(ledger, run, made)
    calls.finish(ledger, run, made, at_cost([calls.Answer({"logits": np.ones(100, np.float32)})] * 300, 0))
    ledger.close()
    return tmp_path / "l.db"


@pytest.mark.parametrize("keep", [0, 50, 4096, 0.5, 0.95])
def test_a_truncated_file_is_named_and_left_as_it_is(filled, keep):
    whole = filled.read_bytes()
    cut = whole[: keep if isinstance(keep, int) else int(len(whole) * keep)]
    filled.write_bytes(cut)
    with pytest.raises(LedgerError, match=r"l\.db.*damaged.*ledger import"):
        open_ledger(str(filled))
    assert filled.read_bytes() == cut
    assert sorted(path.name for path in filled.parent.iterdir()) == ["l.db"]


def test_a_file_with_rubbish_inside_is_named(filled):
    whole = bytearray(filled.read_bytes())
    whole[4096 : len(whole)] = os.urandom(len(whole) - 4096)
    filled.write_bytes(whole)
    with pytest.raises(LedgerError, match=r"l\.db.*damaged"):
        accounts.status(open_ledger(str(filled)))


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n" * 100)
    with pytest.raises(LedgerError, match="not a database"):
        open_ledger(str(path))
    assert path.read_text() == "buy milk\n" * 100


def test_a_newer_ledger_is_refused(filled):
    ledger = open_ledger(str(filled))
    with ledger.write() as db:
        db.execute(schema.version.update().values(version=99))
    ledger.close()
    with pytest.raises(LedgerError, match="newer Tuition"):
        open_ledger(str(filled))


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="TUITION_LEDGER"):
        open_ledger(str(tmp_path / "file" / "l.db"))
    with pytest.raises(LedgerError, match="valid: a file path"):
        open_ledger("nosuchdb://host/x")


def test_the_default_place_is_the_users_data_folder(monkeypatch):
    monkeypatch.delenv("TUITION_LEDGER")
    assert database.locate() == str(Path(os.environ["XDG_DATA_HOME"]) / "tuition" / "ledger.db")


FILLS = textwrap.dedent(
    """
    import resource, sys
    import numpy as np
    from tuition.ledger import accounts, calls
    from tuition.ledger.database import LedgerError, open_ledger
    from tuition.ledger.keys import Request
    ledger = open_ledger()
    id = accounts.open_account(ledger, "cd" * 32, "t", {}, None)
    run = calls.start_run(ledger, id, 10_000)
    limit = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # the file system refuses to let files grow any further
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    owned = 0
    try:
        for start in range(0, 10_000, 50):
            made = calls.reserve(ledger, run, [Request(f"{i:064x}") for i in range(start, start + 50)])
            calls.mark_sent(ledger, run, made)
            calls.finish(ledger, run, made, [calls.Answer({"logits": np.ones(1000, np.float32)})] * 50)
            owned += 50
    except LedgerError as error:
        print(owned, error)
    """
)


def test_a_disk_that_fills_up_loses_nothing(tmp_path):
    """With no room left a commit fails as a whole: what was owned stays owned, and the books are right."""
    ran = subprocess.run([sys.executable, "-c", FILLS, "3000000"], capture_output=True, text=True, timeout=60)
    owned, _, message = ran.stdout.partition(" ")
    assert int(owned) > 0, ran.stderr
    assert "ledger.db" in message
    assert "owned stays owned" in message
    ledger = open_ledger()
    assert accounts.verify(ledger) == []
    assert accounts.status(ledger)[0]["samples"] == int(owned)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3_000_000


def test_a_sqlite_url_is_a_file_like_any_other_and_memory_is_refused(filled):
    ledger = open_ledger(f"sqlite:///{filled}")
    assert accounts.status(ledger)[0]["samples"] == 300
    ledger.close()
    filled.write_bytes(b"")
    with pytest.raises(LedgerError, match="empty"):
        open_ledger(f"sqlite:///{filled}")
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(LedgerError, match="forgets what was paid"):
            open_ledger(url)
