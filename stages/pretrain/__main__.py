"""`python -m stages.pretrain`: train the teacher on all labelled data, where the user brings none."""

import shutil

from tuition import params as parameters
from tuition.errors import UserError, read_arguments, run
from tuition.files import write_json
from tuition.methods import build
from tuition.targets.truth import known_part
from tuition.training import processes
from tuition.training.data import TrainingSet
from tuition.training.run import Split, describe, read_split, train
from tuition.training.student import write_student
from tuition.workspace import Workspace


def main(argv: list[str]) -> None:
    read_arguments("stages.pretrain", argv)
    params, files = parameters.load(), Workspace().teacher
    if params.teacher.kind not in ("checkpoint", "language") or params.teacher.weights != str(files):
        if not processes.rank():
            shutil.rmtree(files.path, ignore_errors=True)
            write_json(files.meta, {"brought": True})
            print("pretrain: the teacher is brought by the user, nothing to train")
        return
    if params.teacher.kind == "language":
        from stages.pretrain.language import pretrain_language

        print(pretrain_language(params))
        return
    if processes.launched("stages.pretrain", argv, params.pretrain, "pretrain"):
        return
    samples, labels = _labelled("train")
    model = describe(params.teacher.arch, samples, params.teacher.taps)
    done, speed = train(
        "teacher",
        model,
        build("ce"),
        params.pretrain,
        params.pretrain.seed,
        TrainingSet(samples, labels),
        validation=_labelled("val"),
    )
    if processes.rank():
        return
    meta = {**model, "val_top1": done.best_score[0], "best_step": done.best_step}
    write_student(files.path, done.best, meta, done.history)
    print(
        f"pretrain {params.teacher.arch}: val top-1 {100 * done.best_score[0]:.2f} %, {speed['images_per_second']:,.0f} images/s"
    )


def _labelled(split: str) -> Split:
    """The labelled samples of a split. Raises UserError where none is."""
    samples, labels = read_split(split)
    if not (labels >= 0).any():
        raise UserError(
            f"data/{split}: none of {len(labels)} samples has a label, and a teacher is trained from labels; bring a teacher "
            "(teacher.kind), or labelled samples"
        )
    return known_part(samples, labels)


if __name__ == "__main__":
    run(processes.one_voice(main))
