"""`python -m stages.pretrain`: train the teacher on all labelled data, where the user brings none."""

import shutil

from tuition import params as parameters
from tuition.errors import read_arguments, run
from tuition.files import write_json
from tuition.methods import build
from tuition.training import processes
from tuition.training.data import TrainingSet
from tuition.training.run import describe, read_split, train
from tuition.training.student import write_student
from tuition.workspace import Workspace


def main(argv: list[str]) -> None:
    read_arguments("stages.pretrain", argv)
    params, files = parameters.load(), Workspace().teacher
    if params.teacher.kind != "checkpoint" or params.teacher.weights != str(files):
        if not processes.rank():
            shutil.rmtree(files.path, ignore_errors=True)
            write_json(files.meta, {"brought": True})
            print("pretrain: the teacher is brought by the user, nothing to train")
        return
    if processes.launched("stages.pretrain", argv, params.pretrain, "pretrain"):
        return
    samples, labels = read_split("train")
    model = describe(params.teacher.arch, samples, params.teacher.taps)
    done, speed = train(
        "teacher",
        model,
        build("ce"),
        params.pretrain,
        params.pretrain.seed,
        TrainingSet(samples, labels),
    )
    if processes.rank():
        return
    meta = {**model, "val_top1": done.best_score[0], "best_step": done.best_step}
    write_student(files.path, done.best, meta, done.history)
    print(
        f"pretrain {params.teacher.arch}: val top-1 {100 * done.best_score[0]:.2f} %, {speed['images_per_second']:,.0f} images/s"
    )


if __name__ == "__main__":
    run(processes.one_voice(main))
