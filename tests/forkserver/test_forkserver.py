"""Stages that start from a fork server: as a process of their own, in output, exit status, signals and end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support import fork_server, write_params

from tuition import forkserver

STAGE = '''
"""A stage of a test: says what it finds, and does what its first argument says."""
import os, sys, time
from pathlib import Path

def wait():
    try:
        Path("pid").write_text(str(os.getpid()))
        time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted")
        raise SystemExit(7)

print("torch" in sys.modules, Path.cwd().name, os.environ["ASKED"], sys.argv[1:], oct(os.umask(0)))
print("to stderr", file=sys.stderr)
match sys.argv[1]:
    case "0": pass
    case "exit": sys.exit(int(sys.argv[2]))
    case "text": sys.exit("a message")
    case "raise": raise ValueError("of the stage")
    case "die": os.kill(os.getpid(), 6)
    case "wait": wait()
'''
HOOK = 'import sys\nfrom tuition.forkserver.caller import hand_over\nif sys.argv[0] == "-m":\n    hand_over()\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a package `steps` whose stages start as the project's do."""
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps/__init__.py").write_text(HOOK)
    (tmp_path / "steps/one.py").write_text(STAGE)
    return tmp_path


def start(place: Path, *arguments: str, address: str | None = None, **more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "ASKED": "yes", forkserver.VARIABLE: address or fork_server(), **more}
    command = [sys.executable, "-m", "steps.one", *arguments]
    return subprocess.Popen(
        command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(place: Path, *arguments: str, **more: str) -> tuple[str, str, int]:
    process = start(place, *arguments, **more)
    out, err = process.communicate(timeout=60)
    return out, err, process.returncode


def test_it_is_the_process_that_asked_but_for_the_imports(place):
    out, err, status = run(place, "0", "two words", "ü")
    assert out == f"True {place.name} yes ['0', 'two words', 'ü'] 0o22\n"
    assert (err, status) == ("to stderr\n", 0)
    source = place / "steps/one.py"
    source.write_text(source.read_text() + "print('edited')\n")
    assert run(place, "0")[0].endswith("edited\n")  # the code is read anew by every fork


@pytest.mark.parametrize(
    ("arguments", "status", "shown"),
    [
        (("exit", "3"), 3, ""),
        (("text",), 1, "a message\n"),
        (("raise",), 1, "ValueError: of the stage\n"),
        (("die",), -signal.SIGABRT, ""),
    ],
)
def test_it_ends_as_the_stage_ends(place, arguments, status, shown):
    _, err, found = run(place, *arguments)
    assert (found, err.endswith(shown)) == (status, True)


def waiting(place: Path, process: subprocess.Popen[str]) -> psutil.Process:
    """The fork, once it waits."""
    pid = place / "pid"
    while not (pid.exists() and pid.read_text()):
        assert process.poll() is None
        time.sleep(0.01)
    return psutil.Process(int(pid.read_text()))


def test_ctrl_c_and_sigterm_reach_it(place):
    process = start(place, "wait")
    assert waiting(place, process).pid != process.pid
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0].endswith("interrupted\n")
    assert process.returncode == 7
    (place / "pid").unlink()
    process = start(place, "wait")
    waiting(place, process)
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_killed_it_leaves_nothing(place):
    process = start(place, "wait")
    fork = waiting(place, process)
    process.kill()
    process.communicate()
    psutil.wait_procs([fork], timeout=10)
    assert not fork.is_running()


def test_another_interpreter_or_no_server_runs_the_stage_itself(place):
    assert run(place, "0", OMP_NUM_THREADS="7")[0].startswith("False ")
    assert run(place, "0", address=str(place / "nothing"))[0].startswith("False ")


def test_a_server_that_is_killed_fails_what_runs_and_a_server_ends_with_its_owner(place):
    code = """
import time
from tuition import forkserver
with forkserver.running() as address:
    print(address, flush=True)
    time.sleep(99)
"""
    owner = psutil.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    address = owner.stdout.readline().strip()
    process = start(place, "wait", address=address)
    waiting(place, process)
    (server,) = owner.children()
    owner.kill()
    owner.wait()
    psutil.wait_procs([server], timeout=10)
    assert not server.is_running()
    process.terminate()
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 70
    assert "how this stage ended is not known" in err


def test_a_command_has_a_server_for_the_stages_that_it_starts(place):
    environment = {key: value for key, value in os.environ.items() if key != forkserver.VARIABLE} | {"ASKED": "yes"}

    def around(*command: str) -> subprocess.CompletedProcess[str]:
        around = [sys.executable, "-m", "tuition.forkserver.around", *command]
        return subprocess.run(around, cwd=place, env=environment, text=True, capture_output=True, check=False)

    script = f"{sys.executable} -m steps.one exit 3; a=$?; {sys.executable} -m steps.one 0; exit $a"
    done = around("sh", "-c", script)
    assert done.returncode == 3, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["True", "True"]
    assert around("sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL
    assert "what command?" in around().stderr


def test_a_student_has_the_same_bytes(workspace):
    write_params(workspace, {})
    command = [sys.executable, "-m", "stages.pretrain"]
    weights = []
    for more in ({}, {forkserver.VARIABLE: fork_server()}):
        subprocess.run(command, cwd=workspace, env={**os.environ, **more}, check=True, capture_output=True)
        weights.append((workspace / "teacher/weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
