"""`python -m stages.train <budget> <method> <seed>`: train one cell's student on what that budget bought."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuition import params as parameters
from tuition.errors import UserError, run
from tuition.files import read_array, read_json, write_json
from tuition.inputs.views import bought as images_of
from tuition.methods import build, card, resolve
from tuition.models.description import ModelDescription
from tuition.signals import arrays_of
from tuition.training import processes
from tuition.training.loop import Progress as Trained
from tuition.training.loop import Row
from tuition.training.run import describe, read_split, train
from tuition.training.student import write_student
from tuition.views import FILE as VIEWS
from tuition.workspace import cell_name


def main(argv: list[str]) -> None:
    params = parameters.load()
    if processes.launched("stages.train", argv, params.train, "train"):
        return
    budget, name, seed = int(argv[0]), argv[1], int(argv[2])
    cell = cell_name(budget, name, seed)
    if processes.rank():
        train_cell(params, budget, name, seed)
        return
    from tuition.tracking import Live  # imports no MLflow until a run has lasted a while

    live = Live(params, budget, name, seed)
    try:
        done, speed, model, meta = train_cell(params, budget, name, seed, live.row)
    finally:
        live.close()
    write_student(Path("students") / cell, done.best, meta, done.history, model)
    write_json(Path("speed") / f"{cell}.json", speed)
    print(
        f"train {cell}: val top-1 {100 * meta['val_top1']:.2f} % at step {done.best_step}, {speed['images_per_second']:,.0f} images/s"
    )


def train_cell(
    params: parameters.Params, budget: int, name: str, seed: int, on_row: Callable[[Row], None] = lambda row: None
) -> tuple[Trained, dict[str, Any], ModelDescription, dict[str, Any]]:
    """Train the cell's student from the files in the workspace: (what came of it, speed, the student's description, its meta)."""
    section = params.methods.get(name)
    about, objective = card(resolve(name, section).method), build(name, section)
    bought, compared = Path(f"outputs/{budget}"), Path(f"comparisons/{budget}/{name}")
    images, labels = read_split("train")
    positions, seen = read_array(bought / "positions.npy"), images_of(images, bought)
    teacher, constants = read_signals(bought, objective.signals)
    mixed = {}
    if about.views == "mixed":  # as many calls as any other cell of this budget: half clean, half mixed
        clean = max(2, len(positions) - budget // 2)
        positions, teacher = positions[:clean], {key: values[:clean] for key, values in teacher.items()}
        mixed = read_mixed(bought, name, positions)
    others, present = read_others(bought, objective.method.signals, len(positions)) if about.several else ({}, {})
    groups = read_json(compared / "meta.json")
    members, weights = _groups(name, about.compares, compared, groups)
    model = describe(params.student.arch, images, params.student.taps)
    done, speed = train(
        cell_name(budget, name, seed),
        model,
        objective,
        params.train,
        seed,
        images=seen[: len(positions)],
        labels=labels[positions],
        augment=not seen.of_views,
        teacher=teacher,
        members=members,
        weights=weights,
        constants=constants,
        mixed=mixed,
        others=others,
        present=present,
        identity=[name, section],
        on_row=on_row,
    )
    best = done.history[[row["step"] for row in done.history].index(done.best_step)]
    meta = {
        "budget": budget,
        "method": name,
        "seed": seed,
        "samples": len(positions),
        "comparisons": groups,
        "augmentation": "views as bought" if seen.of_views else "random",
        "settings": {"train": params.train.model_dump(), "student": params.student.model_dump(), name: section or {}},
        "best_step": done.best_step,
        "val_top1": best["val_top1"],
        "val_loss": best["val_loss"],
    }
    return done, speed, model, meta


def read_signals(bought: Path, families: tuple[str, ...]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The arrays of these families in outputs/<budget>/: those with a row a sample, and the teacher's constants.

    Raises UserError where a family was not bought.
    """
    meta = read_json(bought / "meta.json")
    present, constants = meta["signals"], meta.get("constants", [])
    names: list[str] = []
    for family in families:
        found = arrays_of(family, [*present, *constants])
        if not found:
            raise UserError(f"{bought}: no {family!r} was bought, only {', '.join(present)}; add it to teacher.signals")
        names += found
    arrays = {name: read_array(bought / f"{name}.npy") for name in names}
    return {k: v for k, v in arrays.items() if k in present}, {k: v for k, v in arrays.items() if k in constants}


def read_mixed(bought: Path, name: str, positions: np.ndarray) -> dict[str, np.ndarray]:
    """The mixed inputs of outputs/<budget>/mixed/ whose two samples are among `positions`, as `Context.mixed` has them.

    Raises UserError where none were bought.
    """
    folder = bought / "mixed"
    if not (folder / "meta.json").exists():
        raise UserError(f"{folder}: no mixed inputs were bought, but {name!r} needs them; set teach.mixed: true")
    mixed = {key: read_array(folder / f"{key}.npy") for key in ("images", "logits", "first", "second", "lam")}
    row = {int(position): place for place, position in enumerate(positions)}
    kept = [i for i in range(len(mixed["lam"])) if int(mixed["first"][i]) in row and int(mixed["second"][i]) in row]
    for key in ("first", "second"):
        mixed[key] = np.array([row.get(int(position), -1) for position in mixed[key]], dtype=np.int64)
    mixed["inputs"] = mixed.pop("images")
    return {key: values[kept] for key, values in mixed.items()}


def read_others(
    bought: Path, families: tuple[str, ...], rows: int
) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """What the further teachers of outputs/<budget>/teachers/ said, as `Context` has it: ({name: {signal: (rows, …)}}, {name: (rows,)
    bool}), row for row as the first `rows` of outputs/<budget>/; zeros where one has no answer that can be used.

    Raises UserError where there are none, or one lacks a family.
    """
    folders = sorted(path.parent for path in (bought / "teachers").glob("*/meta.json"))
    if not folders:
        raise UserError(f"{bought / 'teachers'}: no further teacher was asked; list them in params.yaml: teachers")
    wanted = _asked(bought)[:rows]
    others, present = {}, {}
    for folder in folders:
        said, _ = read_signals(folder, families)
        place = {one: row for row, one in enumerate(_asked(folder))}
        found = np.array([place.get(one, -1) for one in wanted], dtype=np.int64)
        there = found >= 0
        others[folder.name] = {
            key: np.where(there.reshape(-1, *[1] * (values.ndim - 1)), values[found], np.zeros((), values.dtype))
            for key, values in said.items()
        }
        present[folder.name] = there
    return others, present


def _asked(folder: Path) -> list[tuple[bytes, ...]]:
    """What each row of an export answers: the sample's content id, and its view where views were bought."""
    ids = read_array(folder / "ids.npy")
    views = read_array(folder / VIEWS) if (folder / VIEWS).exists() else np.zeros((len(ids), 0), dtype=np.int32)
    return [(bytes(id), view.tobytes()) for id, view in zip(ids, views, strict=True)]


def _groups(name: str, compares: bool, folder: Path, groups: dict[str, Any]) -> Any:
    """(members (M, k) or None, one group's weights (k,) or None) of the method's comparison set."""
    if not compares:
        return None, None
    if groups["strategy"] == "none":
        raise UserError(f"compare.sets.{name}: no such section, but {name!r} compares samples")
    weights = np.array(groups["weights"], dtype=np.float32)
    return (None if groups["strategy"] == "in-batch" else read_array(folder / "members.npy")), weights


if __name__ == "__main__":
    run(processes.one_voice(main))
