"""A file system without hard links, such as exFAT or many a network's: a new ledger is made there too, whole and once."""

import errno
import os
import subprocess
import sys
import textwrap

import pytest

from tuition import files
from tuition.ledger import accounts
from tuition.ledger.database import LedgerError, open_ledger


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_ledger_is_made_where_nothing_can_be_linked(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    accounts.open_account(open_ledger(str(tmp_path / "l.db")), "cd" * 32, "t", {}, None)
    assert len(accounts.status(open_ledger(str(tmp_path / "l.db")))) == 1
    assert not [path.name for path in tmp_path.iterdir() if not path.name.startswith("l.db")]


def test_processes_that_make_it_at_once_have_the_same_one(tmp_path):
    code = textwrap.dedent(
        """
        import errno, os, sys
        def no_links(*_):
            raise OSError(errno.ENOTSUP, "Operation not supported")
        os.link = no_links
        from tuition.ledger import accounts
        from tuition.ledger.database import open_ledger
        accounts.open_account(open_ledger("l.db"), sys.argv[1] * 64, "t" + sys.argv[1], {}, None)
        """
    )
    both = [subprocess.Popen([sys.executable, "-c", code, one], cwd=tmp_path) for one in "abcd"]
    assert [process.wait(60) for process in both] == [0] * 4
    assert len(accounts.status(open_ledger(str(tmp_path / "l.db")))) == 4


def test_what_a_killed_process_left_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    (tmp_path / ".l.db.placing").touch()
    with pytest.raises(LedgerError, match=r"left by a process that was killed; remove it: .*\.l\.db\.placing"):
        open_ledger(str(tmp_path / "l.db"))
    (tmp_path / ".l.db.placing").unlink()
    open_ledger(str(tmp_path / "l.db"))


def test_files_of_stages_are_written_where_there_are_no_modes(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "chmod", no_links)
    files.write_json(tmp_path / "a.json", 1)
    assert files.read_json(tmp_path / "a.json") == 1
