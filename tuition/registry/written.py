"""A student that writes texts, asked: a registered one, or one that lies in students/<cell>."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tuition.errors import UserError
from tuition.registry import tuition_writer
from tuition.registry.registry import parse_model, resolve_version
from tuition.registry.writer import TASK
from tuition.tracking.store import connect_store

Writes = Callable[[Sequence[str]], list[str]]  # prompts -> texts


def writer_of_folder(folder: Path) -> Writes:
    """The student in students/<cell>."""
    made = tuition_writer._load_pyfunc(str(folder))
    return lambda prompts: _asked(made, prompts)


def registered_writer(uri: str) -> Writes | None:
    """The student of `models:/<name>@<alias>` or `models:/<name>/<version>`; None where it writes no texts."""
    name, which = parse_model(uri)
    store = connect_store(name, create=False)
    version = resolve_version(store, name, which)
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    place = f"models:/{name}/{version.version}"
    if (mlflow.models.get_model_info(place).metadata or {}).get("task") != TASK:
        return None
    made = mlflow.pyfunc.load_model(place)
    return lambda prompts: _asked(made, prompts)


def _asked(made: "tuition_writer.Writer", prompts: Sequence[str]) -> list[str]:
    try:
        return made.predict(list(prompts))[tuition_writer.ANSWER].tolist()
    except ValueError as error:
        raise UserError(str(error)) from None
