"""What a cell's student learns from: the files of its budget and method in the workspace, as one `TrainingSet`."""

from typing import Any

import numpy as np

from stages.train.rest import read_rest
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.bought import read_bought
from tuition.inputs.kinds import workspace_inputs
from tuition.methods import build, card, resolve
from tuition.params import Params, student_training
from tuition.signals import arrays_of
from tuition.targets.classes import complete, top_class
from tuition.training.data import TrainingSet
from tuition.training.run import read_split
from tuition.workspace import Comparisons, Export, Mixed, Outputs, Workspace


def read_training_set(params: Params, budget: int, name: str, groups: dict[str, Any]) -> TrainingSet:
    """What the method `name` trains on with this budget; `groups` is the meta.json of its comparison set.

    Raises UserError where a signal, mixed inputs, further teachers or a comparison set that it needs are not there.
    """
    section = params.methods.get(name)
    about, objective = card(resolve(name, section).method), build(name, section)
    here, outputs = Workspace(), Workspace().outputs(budget)
    samples, labels = read_split("train")
    positions, seen = read_array(outputs.positions), read_bought(workspace_inputs(), samples, outputs.path)
    teacher, constants = read_signals(outputs, objective.signals)
    mixed: dict[str, np.ndarray] = {}
    if about.views == "mixed":  # as many calls as any other cell of this budget: half clean, half mixed
        clean = max(2, len(positions) - budget // 2)
        positions, teacher = positions[:clean], {key: values[:clean] for key, values in teacher.items()}
        mixed = read_mixed(outputs.mixed, name, positions)
    others, present = read_others(outputs, objective.method.signals, len(positions)) if about.several else ({}, {})
    rest = read_rest(
        student_training(params, name), budget, samples, labels, read_array(outputs.positions), groups.get("estimates")
    )
    members, weights = _groups(name, about.compares, here.comparisons(budget, name), groups)
    return TrainingSet(
        inputs=seen[: len(positions)],
        labels=labels[positions],
        teacher=teacher,
        augment=not seen.of_views,
        members=members,
        weights=weights,
        constants=constants,
        mixed=mixed,
        others=others,
        present=present,
        rest=rest,
    )


def read_signals(export: Export, families: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arrays of these families in an export: those with a row a sample, and the teacher's constants.

    Logits of which some are unknown are completed (`targets.classes`); where no `label` was bought, it is the highest logit's.
    Raises UserError where a family was not bought.
    """
    meta = read_json(export.meta)
    present, constants = meta["signals"], meta.get("constants", [])
    names: list[str] = []
    for family in families:
        if family == "label" and "label" not in present and "logits" in present:
            continue
        found = arrays_of(family, [*present, *constants])
        if not found:
            raise UserError(f"{export}: no {family!r} was bought, only {', '.join(present)}; add it to teacher.signals")
        names += found
    arrays = {name: read_array(export.signal(name)) for name in names}
    if "label" in families and "label" not in arrays:
        arrays["label"] = top_class(read_array(export.signal("logits")))
    if "logits" in arrays:
        arrays["logits"] = complete(arrays["logits"])
    of_teacher = {k: v for k, v in arrays.items() if k in constants}
    return {k: v for k, v in arrays.items() if k not in of_teacher}, of_teacher


def read_mixed(files: Mixed, name: str, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The mixed inputs of outputs/<budget>/mixed/ whose two samples are among `positions`, as `Context.mixed` has them.

    Raises UserError where none were bought.
    """
    if not files.meta.exists():
        raise UserError(f"{files}: no mixed inputs were bought, but {name!r} needs them; set teach.mixed: true")
    mixed = {key: read_array(files.signal(key)) for key in ("logits", "first", "second", "lam")}
    mixed["logits"] = complete(mixed["logits"])
    mixed["inputs"] = workspace_inputs().read(files.path)
    row = {int(position): place for place, position in enumerate(positions)}
    kept = [i for i in range(len(mixed["lam"])) if int(mixed["first"][i]) in row and int(mixed["second"][i]) in row]
    for key in ("first", "second"):
        mixed[key] = np.array([row.get(int(position), -1) for position in mixed[key]], dtype=np.int64)
    return {key: values[kept] for key, values in mixed.items()}


def read_others(
    outputs: Outputs, families: tuple[str, ...], rows: int
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """What the further teachers of outputs/<budget>/teachers/ answered, as `Context` has it: ({name: {signal: (rows, …)}}, {name: (rows,)
    bool}), row for row as the first `rows` of outputs/<budget>/; zeros where one has no answer that can be used.

    Raises UserError where there are none, or one lacks a family.
    """
    exports = outputs.further()
    if not exports:
        raise UserError(f"{outputs.teachers}: no further teacher was asked; list them in params.yaml: teachers")
    requests = _requests(outputs)[:rows]
    others, present = {}, {}
    for export in exports:
        answers, _ = read_signals(export, families)
        place = {one: row for row, one in enumerate(_requests(export))}
        found = np.array([place.get(one, -1) for one in requests], dtype=np.int64)
        there = found >= 0
        others[export.path.name] = {
            key: np.where(there.reshape(-1, *[1] * (values.ndim - 1)), values[found], np.zeros((), values.dtype))
            for key, values in answers.items()
        }
        present[export.path.name] = there
    return others, present


def _requests(export: Export) -> list[tuple[bytes, ...]]:
    """What each row of an export answers: the sample's content id, and its view where views were bought."""
    ids = read_array(export.ids)
    views = read_array(export.views) if export.views.exists() else np.zeros((len(ids), 0), dtype=np.int32)
    return [(bytes(id), view.tobytes()) for id, view in zip(ids, views, strict=True)]


def _groups(
    name: str, compares: bool, files: Comparisons, groups: dict[str, Any]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """(members (M, k) or None, one group's weights (k,) or None) of the method's comparison set.

    Raises UserError where it has none.
    """
    if not compares:
        return None, None
    if groups["strategy"] == "none":
        raise UserError(f"compare.sets.{name}: no such section, but {name!r} compares samples")
    weights = np.array(groups["weights"], dtype=np.float32)
    return (None if groups["strategy"] == "in-batch" else read_array(files.members)), weights
