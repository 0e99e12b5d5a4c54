"""`flows.runner: dask | ray`: the cluster that cells are sent to, opened once a flow run. Nothing of it is imported for threads."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from prefect.settings import PREFECT_API_URL

from flows.local.commands import Commands
from flows.remote import clones, elsewhere
from tuition.errors import LATER, Unreachable, UserError
from tuition.params import Flows

PATIENCE = 30  # seconds for a scheduler to answer
STORE = 100_000_000  # bytes of a local Ray's object store, which holds texts alone


@contextmanager
def open_runner(settings: Flows, commands: Commands) -> Iterator[elsewhere.Driver | None]:
    """What sends cells elsewhere; None for threads.

    Raises UserError, before a stage has run, where the package, a Prefect server, DVC's remote or the cluster is missing.
    """
    if settings.runner == "threads":
        yield None
        return
    if importlib.util.find_spec(f"prefect_{settings.runner}") is None:
        raise UserError(
            f"flows.runner: {settings.runner}: not installed; `uv sync --extra {settings.runner}` installs it"
        )
    if not PREFECT_API_URL.value():
        raise UserError(
            f"flows.runner: {settings.runner}: workers report to a Prefect server; set PREFECT_API_URL to one that they reach, "
            "such as that of `prefect server start --host 0.0.0.0`"
        )
    if settings.address is None and not os.environ.get(clones.VARIABLE):
        raise UserError(
            f"flows.address: null starts workers on this machine, and {clones.VARIABLE} names no clones for them; "
            f"set it, as to /work/clone1:/work/clone2, or set flows.address to the {settings.runner} cluster's"
        )
    lines: list[str] = []
    status, _ = elsewhere.run_exchange(commands, "check", {}, lines.append)
    if status:
        text = lines[-1].removeprefix("error: ") if lines else "dvc could not be started"
        raise (Unreachable if status == LATER else UserError)(f"flows.runner: {settings.runner}: {text}")
    with _dask(settings) if settings.runner == "dask" else _ray(settings) as (runner, cancel):
        yield elsewhere.Driver(commands, runner.submit, cancel, copy_context(), elsewhere.driver_facts())


@contextmanager
def _dask(settings: Flows) -> Iterator[Any]:
    from prefect_dask import DaskTaskRunner

    local = {"n_workers": settings.parallel, "threads_per_worker": 1, "dashboard_address": None}
    runner = DaskTaskRunner(
        address=settings.address,
        cluster_kwargs=None if settings.address else local,
        client_kwargs={"timeout": PATIENCE},
    )
    with runner:
        try:
            runner.client.scheduler_info()
        except OSError as error:  # a timeout too
            raise Unreachable(f"flows.address: no Dask scheduler answers at {settings.address} ({error})") from None
        yield runner, lambda future: future.wrapped_future.cancel()


@contextmanager
def _ray(settings: Flows) -> Iterator[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing here phones home
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # workers have an environment of their own
    import ray
    from prefect_ray import RayTaskRunner

    local = {"num_cpus": settings.parallel, "include_dashboard": False, "object_store_memory": STORE}
    runner = RayTaskRunner(
        address=settings.address or "local", init_kwargs={"log_to_driver": False, **({} if settings.address else local)}
    )
    try:
        runner.__enter__()
    except (OSError, RuntimeError, ValueError) as error:
        raise Unreachable(f"flows.address: no Ray cluster answers at {settings.address} ({error})") from None
    try:
        yield runner, lambda future: ray.cancel(future.wrapped_future, force=True)
    finally:
        runner.__exit__(None, None, None)
