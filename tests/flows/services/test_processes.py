"""Services are ended with all their children, whoever died before; what only has a number of theirs is left alone."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from flows.services import processes

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
    record, log = processes.new_record(), tmp_path / "logs/family.log"
    processes.launch_process(record, [sys.executable, "-c", FAMILY], os.environ, log)
    assert processes.wait_until(lambda: len(log.read_text().split()) == 2, 60)
    yield record, log
    for process in processes.find_processes([record]):
        process.kill()


def test_a_service_is_ended_with_its_children(family):
    record, log = family
    everyone = processes.find_processes([record])
    assert len(everyone) == 3
    assert processes.is_alive(record)
    assert processes.end_services([record], grace=1) == []
    assert psutil.wait_procs(everyone, 5)[1] == []
    processes.launch_process(record, [sys.executable, "-c", "pass"], os.environ, log)
    assert sorted(log.with_suffix(".old").read_text().split()) == ["away", "deaf"]


def test_children_are_found_when_the_service_was_killed(family):
    record, _ = family
    everyone = processes.find_processes([record])
    os.kill(record["pid"], signal.SIGKILL)
    assert processes.wait_until(lambda: not processes.is_alive(record), 10)
    assert len(processes.find_processes([record])) == 2
    assert processes.end_services([record], grace=0.5) == []
    assert psutil.wait_procs(everyone, 5)[1] == []


def test_a_start_that_was_cut_off_before_the_number_was_known(family):
    record, _ = family
    forgotten = {**record, "pid": None, "created": None}
    assert not processes.is_alive(forgotten)
    assert len(processes.find_processes([forgotten])) == 3


def test_the_same_number_after_a_reboot_is_somebody_elses():
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    try:
        started = psutil.Process(stranger.pid).create_time()
        stale = {**processes.new_record(), "pid": stranger.pid, "created": started - 1000}
        assert not processes.is_alive(stale)
        assert processes.find_processes([stale]) == []
        assert processes.end_services([stale], grace=0.1) == []
        assert stranger.poll() is None
        assert processes.is_alive({**stale, "created": started})
    finally:
        stranger.kill()
        stranger.wait()
