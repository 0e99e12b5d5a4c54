"""Several processes for one training: `devices: N` starts N of them on this machine, and each one joins the others.

`python -m stages.train …` becomes their launcher (torch's elastic one) where `devices` is more than one. Started by a `torchrun` of the
user's own, on one machine or on several, the same command is one of the processes and starts none. They end together: the launcher
ends all when one fails, and each one ends itself when the launcher is gone.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tuition.errors import UserError

if TYPE_CHECKING:
    from tuition.params import Training

LAUNCHER = "TUITION_LAUNCHER"  # the process id of the launcher, where that is this command
LOOK_EVERY = 0.5  # seconds between two looks whether the launcher is there
SILENCE = 20.0  # seconds after which a process says itself what only it has found wrong


def started() -> bool:
    """Whether a launcher started this process as one of a training's."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def rank() -> int:
    """This process's number in its training; the first, 0, writes the files."""
    return int(os.environ["RANK"]) if started() else 0


def nodes() -> int:
    """Machines that train together."""
    return int(os.environ["GROUP_WORLD_SIZE"]) if started() else 1


def launched(module: str, argv: list[str], settings: "Training", key: str) -> bool:
    """Run `python -m module argv` as `settings.devices` processes, and tell that it is done; False where this one shall do the work.

    `key` names the section of the settings (`params.Training`). Raises UserError where so many processes cannot be had; ends this process
    with their status where they failed: 2 for an error that one of them has explained.
    """
    if started():
        check(settings, key, nodes())
        found = int(os.environ["LOCAL_WORLD_SIZE"])
        if found != settings.devices or found * nodes() != int(os.environ["WORLD_SIZE"]):
            raise UserError(
                f"params.yaml: {key}.devices: found {settings.devices}, but this machine was told to start {found} of "
                f"{os.environ['WORLD_SIZE']} processes; give torchrun --nproc-per-node={settings.devices} on every machine"
            )
        launcher = int(os.environ.get(LAUNCHER, os.getppid()))
        threading.Thread(target=_end_with, args=(launcher,), name="launcher", daemon=True).start()
        return False
    if settings.devices == 1:
        return False
    check(settings, key)
    _launch(module, argv, settings.devices)
    return True


def check(settings: "Training", key: str, machines: int = 1) -> None:
    """Raise UserError, naming the key, where `settings` (`params.Training`) ask for devices that are not there."""
    count, where = settings.devices, f"params.yaml: {key}.devices: found {settings.devices}"
    if count * machines > settings.batch_size:
        raise UserError(
            f"{where}, but {key}.batch_size is {settings.batch_size}: each of {count * machines} processes takes a share of every batch; "
            f"valid: 1 to {settings.batch_size // machines}"
        )
    if count == 1:
        return
    if settings.accelerator == "mps":
        raise UserError(f"{where}, but {key}.accelerator: mps has one device; several are cuda's or cpu's")
    import torch

    if settings.accelerator != "cpu" and not torch.distributed.is_available():
        raise UserError(f"{where}, but this PyTorch was built without torch.distributed; valid: 1")
    gpus = torch.cuda.device_count() if settings.accelerator != "cpu" else 0
    if count > gpus and (gpus or settings.accelerator == "cuda"):
        valid = f"1 to {gpus}, or {key}.accelerator: cpu" if gpus else f"{key}.accelerator: cpu"
        raise UserError(f"{where}, but this machine has {gpus} GPUs; valid: {valid}")


def one_voice(main: Callable[[list[str]], object]) -> Callable[[list[str]], object]:
    """`main` for `tuition.errors.run`: what a user can mend is found by every process, and said by the first of each machine alone.

    The others wait to be ended with it.
    """

    def spoken(argv: list[str]) -> None:
        try:
            main(argv)
        except UserError:
            if started() and os.environ["LOCAL_RANK"] != "0":
                time.sleep(SILENCE)
            raise

    return spoken


def _launch(module: str, argv: list[str], count: int) -> None:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns where every weight had a gradient
    os.environ[LAUNCHER] = str(os.getpid())
    place = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(count), "--max-restarts", "0"]
    try:
        run(parse_args([*place, "--module", module, *argv]))
    except ChildFailedError as error:
        if any(failure.exitcode == 2 for failure in error.failures.values()):  # it has said why; the others were ended
            sys.exit(2)
        first, failure = error.get_first_failure()
        code = failure.exitcode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"failed with status {code}"
        print(
            f"error: process {first} of {count}, counted from 0, {how}, and the others with it; run it again, and it goes on from its last "
            "checkpoint",
            file=sys.stderr,
        )
        sys.exit(1)
    except SignalException as error:
        sys.exit(128 + error.sigval)


def _end_with(launcher: int) -> None:
    """End this process, whatever it waits for, once its parent is no longer the launcher."""
    while os.getppid() == launcher:
        time.sleep(LOOK_EVERY)
    os._exit(1)
