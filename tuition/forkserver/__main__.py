"""`python -m tuition.forkserver SOCKET [library ...]`: the server. It ends when its standard input is closed."""

import atexit
import contextlib
import gc
import importlib
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from typing import Any, NoReturn

from tuition.forkserver import VARIABLE, interpreter
from tuition.forkserver.messages import receive


def serve(address: str, libraries: list[str]) -> dict[str, Any]:
    """Fork for whoever asks, until standard input is closed. Returns in the forks alone, with what each is to run."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("listening", flush=True)
    own, before = interpreter(), dict(os.environ)
    for library in libraries:
        with contextlib.suppress(ImportError):  # an optional one that is not installed
            importlib.import_module(library)
    set_by_libraries = {key: value for key, value in os.environ.items() if key not in before}
    gc.collect()
    gc.freeze()  # what was imported stays shared between the forks
    wake, woken = socket.socketpair()
    for end in (wake, woken, listener):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    ready = selectors.DefaultSelector()
    for source in (listener, woken, sys.stdin):
        ready.register(source, selectors.EVENT_READ)
    callers: dict[int, socket.socket] = {}
    while True:
        events = {key.fileobj for key, _ in ready.select()}
        if sys.stdin in events:
            os._exit(0)
        if woken in events:
            woken.recv(1 << 12)
            _tell_ends(callers)
        if listener in events:
            caller, _ = listener.accept()
            request = _fork_for(caller, callers, own)
            if request is not None:
                ready.close()
                for end in (wake, woken, listener):
                    end.close()
                return {**request, "environment": set_by_libraries | request["environment"]}


def _tell_ends(callers: dict[int, socket.socket]) -> None:
    """Tell the callers of the forks that have ended how they ended."""
    while callers:
        child, status = os.waitpid(-1, os.WNOHANG)
        if child == 0:
            return
        caller = callers.pop(child)
        with contextlib.suppress(OSError), caller:
            caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _fork_for(caller: socket.socket, callers: dict[int, socket.socket], own: dict[str, Any]) -> dict[str, Any] | None:
    """Fork for one caller: its request in the fork, None in the server."""
    try:
        request, streams = receive(caller)
    except (OSError, ValueError):
        caller.close()
        return None
    same = request["interpreter"] == own and len(streams) == 3 and threading.active_count() == 1
    child = os.fork() if same else None
    if child != 0:
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(OSError):
            caller.sendall(b"no\n" if child is None else f"{child}\n".encode())
        if child is None:
            caller.close()
        else:
            callers[child] = caller
        return None
    os.setsid()
    signal.set_wakeup_fd(-1)
    for other in callers.values():
        other.close()
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
        os.close(stream)
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    return request


def _end_with(caller: socket.socket) -> None:
    """End this fork at once when its caller is gone: it was killed, and so is what it stood for."""
    with contextlib.suppress(OSError):
        caller.recv(1)
    os.killpg(0, signal.SIGKILL)  # with the processes that it has started


def _become(request: dict[str, Any]) -> None:
    """Be in every respect the process that asked."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN if request["ignores_interrupts"] else signal.default_int_handler)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update({key: value for key, value in request["environment"].items() if key != VARIABLE})
    sys.orig_argv = [sys.executable, "-m", request["module"], *request["arguments"]]
    sys.argv = sys.orig_argv[2:]  # runpy puts the module's file in the first place
    sys.path[:] = request["path"]
    sys.path_importer_cache.clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "tuition"]:
        del sys.modules[name]
    _open_streams()


def _open_streams() -> None:
    """The caller's standard streams, as Python opens them: what the server had may have been files where these are pipes."""
    immediately = bool(os.environ.get("PYTHONUNBUFFERED"))
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        new = open(number, "w" if number else "r", encoding=old.encoding, errors=old.errors, closefd=False)  # noqa: SIM115
        if number:
            new.reconfigure(line_buffering=number == 2 or new.isatty(), write_through=immediately)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _run(module: str) -> NoReturn:
    """Run `module` as `python -m` does. As multiprocessing's forks, it ends without taking the libraries apart, for half a second."""
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if status < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    asked = serve(sys.argv[1], sys.argv[2:])
    _become(asked)
    _run(asked["module"])
