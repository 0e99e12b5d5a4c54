"""A command ends with all its children, those that refuse SIGTERM too."""

import sys
import threading
import time

import psutil

from flows.local import commands
from flows.local.commands import Commands

# The parent starts a child that refuses SIGTERM, and both would run for a minute.
FAMILY = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
print(subprocess.Popen([sys.executable, "-c", child]).pid, flush=True)
time.sleep(60)
"""


def test_lines_come_live_and_the_status_is_the_commands():
    lines = []
    code = "import sys; print('one'); print('two', file=sys.stderr, flush=True); print(); sys.exit(3)"
    assert Commands().run([sys.executable, "-c", code], lines.append) == 3
    assert lines == ["one", "two"]


def test_stop_ends_children_and_starts_nothing_more(monkeypatch):
    monkeypatch.setattr(commands, "GRACE", 0.5)
    group, lines, status = Commands(), [], []
    thread = threading.Thread(target=lambda: status.append(group.run([sys.executable, "-c", FAMILY], lines.append)))
    thread.start()
    end = time.monotonic() + 20
    while len(lines) < 2 and time.monotonic() < end:
        time.sleep(0.02)
    child = psutil.Process(int(next(line for line in lines if line.isdigit())))
    group.stop()
    thread.join(10)
    assert status == [-15]
    _, alive = psutil.wait_procs([child], timeout=5)
    assert alive == []
    assert group.run([sys.executable, "-c", "print('no')"], lines.append) == -15
    assert "no" not in lines
