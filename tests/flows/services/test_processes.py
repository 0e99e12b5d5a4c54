"""Services are ended with all their children, whoever died before; what only has a number of theirs is left alone."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from flows.services import processes as services

# A service whose child refuses SIGTERM and whose other child leaves its session.
FAMILY = """
import subprocess, sys, time
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(100)"
subprocess.Popen([sys.executable, "-c", deaf])
subprocess.Popen([sys.executable, "-c", "import time; print('away', flush=True); time.sleep(100)"], start_new_session=True)
time.sleep(100)
"""


@pytest.fixture
def family(tmp_path):
    record, log = services.new(), tmp_path / "logs/family.log"
    services.launch(record, [sys.executable, "-c", FAMILY], os.environ, log)
    assert services.until(lambda: len(log.read_text().split()) == 2, 60)
    yield record, log
    for process in services.find([record]):
        process.kill()


def test_a_service_is_ended_with_its_children(family):
    record, log = family
    everyone = services.find([record])
    assert len(everyone) == 3
    assert services.alive(record)
    assert services.end([record], grace=1) == []
    assert psutil.wait_procs(everyone, 5)[1] == []
    services.launch(record, [sys.executable, "-c", "pass"], os.environ, log)
    assert sorted(log.with_suffix(".old").read_text().split()) == ["away", "deaf"]


def test_children_are_found_when_the_service_was_killed(family):
    record, _ = family
    everyone = services.find([record])
    os.kill(record["pid"], signal.SIGKILL)
    assert services.until(lambda: not services.alive(record), 10)
    assert len(services.find([record])) == 2
    assert services.end([record], grace=0.5) == []
    assert psutil.wait_procs(everyone, 5)[1] == []


def test_a_start_that_was_cut_off_before_the_number_was_known(family):
    record, _ = family
    forgotten = {**record, "pid": None, "created": None}
    assert not services.alive(forgotten)
    assert len(services.find([forgotten])) == 3


def test_the_same_number_after_a_reboot_is_somebody_elses():
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        started = psutil.Process(stranger.pid).create_time()
        stale = {**services.new(), "pid": stranger.pid, "created": started - 1000}
        assert not services.alive(stale)
        assert services.find([stale]) == []
        assert services.end([stale], grace=0.1) == []
        assert stranger.poll() is None
        assert services.alive({**stale, "created": started})
    finally:
        stranger.kill()
        stranger.wait()
