"""Whether the registered model's name is this project's to use, told before anything is spent."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuition.errors import UserError
from tuition.files import read_json
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Facts
from tuition.registry.registry import champion_of, model_of, versions_of
from tuition.registry.takes import Takes, what_it_takes
from tuition.tracking.address import check_store, store_missing
from tuition.tracking.store import Store, connect_store
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

OURS = "tuition"  # tag of the registered models that this project made
OF_VERSIONS = {"weights_sha256", "test_digest", "cell"}  # tags of versions; older models have no other mark
OTHER = "choose another register.name in params.yaml"


def check_registered_name(name: str) -> str:
    """Check the name against the store and data/meta.json; returns what was found, in words.

    Raises UserError as `check_name` does, and where the store cannot be opened. Makes nothing in the store.
    """
    check_store()
    if store_missing():
        return f"register.name: {name!r} is free"
    store = connect_store(name, create=False)
    path = Workspace().data.meta
    meta = read_json(path)
    champion = check_name(store, name, meta, meta["classes"], str(path))
    if champion is not None:
        return f"register.name: {name!r} is ours, and version {champion.version}, its champion, fits {path}"
    return f"register.name: {name!r} {'is free' if model_of(store, name) is None else 'is ours, without a champion'}"


def check_name(store: Store, name: str, facts: Facts, classes: Sequence[object], where: str) -> "ModelVersion | None":
    """Check that the name is free or ours, and that its champion takes samples with such facts and knows classes as `where` has them.

    Returns the champion, None where there is none. Raises UserError that names what was found and what to do.
    """
    model = model_of(store, name)
    if model is None:
        return None
    versions = [] if OURS in model.tags else versions_of(store, name)
    if versions and not any(version.tags.keys() >= OF_VERSIONS for version in versions):
        raise UserError(
            f"register.name: {name!r} is taken by another project in {store.shown}: its {len(versions)} versions were not made by "
            f"Tuition; {OTHER}"
        )
    champion = champion_of(store, name)
    if champion is not None:
        takes = _takes(store, champion)
        inputs = inputs_of(facts)
        shape = inputs.shape(facts)
        them = f"register.name: version {champion.version} of {name!r}, the champion in {store.shown},"
        if takes is None:
            if champion.tags.keys() >= OF_VERSIONS:  # its files were deleted: it is ours, and cannot be compared
                return champion
            raise UserError(
                f"{them} does not say which {inputs_of(facts).NAME} and classes it takes: Tuition did not make it; {OTHER}"
            )
        if takes.kind != inputs.NAME:
            raise UserError(f"{them} takes {takes.kind}, but {where} has {inputs.NAME}; {OTHER}")
        if takes.shape != shape:
            raise UserError(
                f"{them} takes {takes.kind} {_x(takes.shape)}, but those of {where} are {_x(shape)}; {OTHER}"
            )
        if takes.classes != [str(one) for one in classes]:
            raise UserError(f"{them} knows {_few(takes.classes)}, but {where} has {_few(classes)}; {OTHER}")
    return champion


def claim_name(store: Store, name: str) -> None:
    """Make the registered model where there is none, and mark it as ours."""
    from mlflow.exceptions import MlflowException

    model = model_of(store, name)
    if model is None:
        try:
            store.client.create_registered_model(name, tags={OURS: "1"}, description="Students that Tuition distilled.")
            return
        except MlflowException:  # another process was quicker, or it can't be made
            model = model_of(store, name)
            if model is None:
                raise
    if OURS not in model.tags:
        store.client.set_registered_model_tag(name, OURS, "1")


def _takes(store: Store, version: "ModelVersion") -> Takes | None:
    """What a registered student takes; None where it does not say, or its files are not there."""
    import mlflow
    from mlflow.exceptions import MlflowException

    mlflow.set_tracking_uri(store.uri)
    try:
        return what_it_takes(mlflow.models.get_model_info(f"models:/{version.name}/{version.version}"))
    except (MlflowException, OSError):
        return None


def _x(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _few(classes: Sequence[object]) -> str:
    shown = ", ".join(str(one) for one in classes[:4])
    return f"{len(classes)} classes ({shown}{', …' if len(classes) > 4 else ''})"
