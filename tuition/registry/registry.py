"""The model registry: a registered model, its versions with their tags, and the aliases `challenger` and `champion`."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tuition.errors import UserError
from tuition.inputs.kinds import workspace_inputs
from tuition.tracking.store import REGISTER, Store
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

T = TypeVar("T")
CHAMPION, CHALLENGER = "champion", "challenger"


def versions_of(store: Store, name: str) -> list["ModelVersion"]:
    """All versions of a registered model, oldest first; none where there is no such model."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = store.client.search_model_versions(f"name = '{_quoted(name)}'", max_results=200, page_token=token)
        found += page
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.version))


def _quoted(name: str) -> str:
    return name.replace("'", "\\'")


def find_version(store: Store, name: str, weights: str, test_digest: str) -> "ModelVersion | None":
    """The newest version that holds the student with these weights (sha256), tested on these samples, if there is one."""
    tags = {"weights_sha256": weights, "test_digest": test_digest}
    found = [version for version in versions_of(store, name) if tags.items() <= version.tags.items()]
    return found[-1] if found else None


def add_version(store: Store, name: str, run: str, cell: str, tags: dict[str, str]) -> "ModelVersion":
    """Log a cell's student in its run, and make it a version of the registered model `name`.

    Some samples of data/test become the input example.
    """
    import mlflow

    from tuition.registry.model import EXAMPLES, log_student
    from tuition.registry.writer import is_writer, log_writer

    mlflow.set_tracking_uri(store.uri)
    with mlflow.start_run(run_id=run, log_system_metrics=False):
        here = Workspace()
        folder = here.student(cell).path
        log = log_writer if is_writer(folder) else log_student
        uri = log(folder, workspace_inputs().read(here.split("test").path)[:EXAMPLES])
    model = uri.removeprefix("models:/")
    return store.client.create_model_version(name, uri, run, tags=tags, await_creation_for=0, model_id=model)


def model_of(store: Store, name: str) -> "RegisteredModel | None":
    """The registered model, or None."""
    return _or_none(lambda: store.client.get_registered_model(name))


def champion_of(store: Store, name: str) -> "ModelVersion | None":
    """The version with the alias `champion`, or None."""
    return _or_none(lambda: store.client.get_model_version_by_alias(name, CHAMPION))


def _or_none(request: Callable[[], T]) -> T | None:
    from mlflow.exceptions import MlflowException

    try:
        return request()
    except MlflowException as error:
        # no such model, or no such alias
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def parse_model(which: str, name: str | None = None) -> tuple[str, str]:
    """(name, version or alias) of `models:/name@alias`, `models:/name/3`; or of `3` and `champion` of the model `name`.

    Raises UserError for what is neither.
    """
    if found := re.fullmatch(r"models:/([^/:@]+)[@/]([^/:@]+)", which):
        return found[1], found[2]
    if name is None or not re.fullmatch(r"[A-Za-z0-9_.-]+", which):
        short = "" if name is None else ", 3, champion, challenger"
        raise UserError(f"found {which!r}; valid: models:/<name>@champion, models:/<name>/<version>{short}")
    return name, which


def resolve_version(store: Store, name: str, which: str) -> "ModelVersion":
    """The version `which` (a number or an alias) of the registered model `name`.

    Raises UserError where there is no such model, version or alias, with what there is.
    """
    model = model_of(store, name)
    if model is None:
        there = ", ".join(one.name for one in store.client.search_registered_models(max_results=20)) or "none"
        raise UserError(f"no registered model {name!r} in {store.shown}; there: {there}. {REGISTER} makes it")
    versions = versions_of(store, name)
    numbers = ", ".join(str(version.version) for version in versions) or "none"
    aliases = {alias: str(number) for alias, number in model.aliases.items()}
    number = which if which.isdigit() else aliases.get(which)
    if number is None:
        shown = ", ".join(f"{alias} (version {its})" for alias, its in sorted(aliases.items())) or "none"
        raise UserError(f"{name!r} has no {which}; its aliases: {shown}; its versions: {numbers}")
    for version in versions:
        if str(version.version) == str(int(number)):
            return version
    raise UserError(f"{name!r} has no version {number}; valid: {numbers}")
