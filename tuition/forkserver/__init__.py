"""A fork server: one process imports the large libraries once, and is forked for every stage that asks for it.

A short stage spends most of its time on importing torch. Where TUITION_FORKSERVER names the socket of a server,
`python -m stages.<name>` (`caller`) hands its arguments, folder, environment and streams to a fork of that server, forwards
signals to it and ends as it ends. The server (`__main__`) imports no code of a study before it forks, so that a fork runs the code
that lies on the caller's path. This package knows no stage, and imports nothing beyond the standard library.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

VARIABLE = "TUITION_FORKSERVER"
LIBRARIES = (
    "torch",
    "torch._dynamo",  # Fabric's wrappers import it: two of the five seconds
    "torch.utils.data",
    "lightning_fabric",
    "safetensors.torch",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.dialects.sqlite",
    "aiohttp",
    "pydantic",
    "ruamel.yaml",
    "PIL.Image",
)
# What libraries and the interpreter read once, when they are loaded: a process that differs in these starts anew.
READ_AT_START = ("OMP_", "GOMP_", "MKL_", "OPENBLAS_", "CUDA_", "CUBLAS_", "LD_", "LC_", "LANG", "PYTHONHASHSEED")


def interpreter() -> dict[str, Any]:
    """What a fork has in common with the process that it stands for."""
    read = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_START)}
    return {"python": [sys.executable, sys.prefix, str(sys.flags)], "environment": read}


@contextlib.contextmanager
def running(*more: str) -> Iterator[str]:
    """A server with the libraries and `more`; gives its socket. Processes started with TUITION_FORKSERVER=<it> use it.

    It ends with this process, however that ends. While it is still importing, callers wait for it.
    """
    with tempfile.TemporaryDirectory(prefix="fork-") as folder:
        address = f"{folder}/socket"
        command = [sys.executable, "-m", "tuition.forkserver", address, *LIBRARIES, *more]
        environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
        server = subprocess.Popen(  # in a session of its own: Ctrl-C is for the callers, which forward it
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, start_new_session=True
        )
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdout.readline()  # it listens
        try:
            yield address
        finally:
            server.terminate()
            server.wait()
            server.stdin.close()
            server.stdout.close()
