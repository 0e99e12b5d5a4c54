"""`python -m stages.train <budget> <method> <seed>`: train one cell's student on what that budget bought."""

from collections.abc import Callable
from typing import Any

from stages.train.language import train_language
from stages.train.meta import best_row, cell_meta
from stages.train.reading import read_training_set
from stages.train.retrieval import train_retrieval, write_index
from tuition import params as parameters
from tuition.errors import read_arguments, run
from tuition.files import read_json, write_json
from tuition.methods import build
from tuition.models.description import ModelDescription
from tuition.targets.truth import against, headline, word
from tuition.training import processes
from tuition.training.display import Speed
from tuition.training.loop import Progress as Trained
from tuition.training.loop import Row
from tuition.training.run import describe, read_evaluated, read_split, train
from tuition.training.student import write_student
from tuition.workspace import Workspace, cell_name


def main(argv: list[str]) -> None:
    budget, name, seed = read_arguments("stages.train", argv, budget=int, method=str, seed=int)
    params = parameters.load()
    if processes.launched("stages.train", argv, params.train, "train"):
        return
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
    here = Workspace()
    write_student(here.student(cell).path, done.best, meta, done.history, model)
    if params.data.task == "retrieval":
        write_index(params, budget, name, here.student(cell))
    write_json(here.speed(cell), speed)
    held = "top-1" if against(here) == "labels" else word(against(here))
    print(
        f"train {cell}: val {held} {100 * meta[headline(against(here)).val]:.2f} % at step {done.best_step}, "
        f"{speed['images_per_second']:,.0f} {params.data.inputs}/s"
    )


def train_cell(
    params: parameters.Params, budget: int, name: str, seed: int, on_row: Callable[[Row], None] = lambda row: None
) -> tuple[Trained, Speed, ModelDescription, dict[str, Any]]:
    """Train the cell's student from the files in the workspace: (what came of it, speed, the student's description, its meta)."""
    if params.data.task == "retrieval":
        return train_retrieval(params, budget, name, seed, on_row)
    if params.data.task == "generate":
        return train_language(params, budget, name, seed, on_row)
    section = params.methods.get(name)
    objective, pool = build(name, section), read_split("train")[0]
    groups = read_json(Workspace().comparisons(budget, name).meta)
    data = read_training_set(params, budget, name, groups)
    settings = parameters.student_training(params, name)
    model = describe(params.student.arch, pool, params.student.taps, params.student)
    identity = [name, section, groups.get("code")]
    done, speed = train(
        cell_name(budget, name, seed),
        model,
        objective,
        settings,
        seed,
        data,
        validation=read_evaluated("val", budget),
        identity=identity,
        on_row=on_row,
    )
    best = best_row(done)
    meta = cell_meta(params, budget, name, seed, settings, groups, done) | {
        "samples": len(data.labels),
        "augmentation": "random" if data.augment else "views as bought",
        "val_top1": best["val_top1"],
        "val_loss": best["val_loss"],
    }
    return done, speed, model, meta


if __name__ == "__main__":
    run(processes.one_voice(main))
