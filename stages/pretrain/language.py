"""A language model as the teacher: its tokens are learnt from the training prompts and references, and it from the references."""

from tuition.errors import UserError
from tuition.inputs.kinds import workspace_inputs
from tuition.inputs.texts.files import read_references
from tuition.methods import build
from tuition.models.causal import CONTEXT, VOCABULARY, describe_causal
from tuition.models.sequences import Sequences, learn
from tuition.params import Params
from tuition.training.language import train
from tuition.training.sequences import TextSet
from tuition.training.student import write_student
from tuition.workspace import Workspace


def pretrain_language(params: Params) -> str:
    """Write teacher/, and return what is to be said of it."""
    texts, references = _texts("train")
    sequences = Sequences(learn([*texts, *references], VOCABULARY), CONTEXT)
    model = describe_causal(params.teacher.arch, sequences)
    sets = {split: _read(split, sequences) for split in ("train", "val")}
    done, speed = train(
        "teacher", model, build("sft"), params.pretrain, params.pretrain.seed, sets["train"], sets["val"]
    )
    best = done.history[[row["step"] for row in done.history].index(done.best_step)]
    meta = {"val_token_accuracy": done.best_score[0], "val_nll": best["val_loss"], "best_step": done.best_step}
    write_student(Workspace().teacher.path, done.best, {**meta, "arch": params.teacher.arch}, done.history, model)
    return (
        f"pretrain {params.teacher.arch}: val token accuracy {100 * done.best_score[0]:.2f} %, {best['val_loss']:.3f} nats a token, "
        f"{speed['images_per_second']:,.0f} texts/s"
    )


def _texts(split: str) -> tuple[list[str], list[str]]:
    """The prompts of a split that have a reference, and these."""
    files = Workspace().split(split)
    prompts, references = workspace_inputs().read(files.path), read_references(files)
    known = references != ""
    if not known.any():
        raise UserError(
            f"data/{split}: none of {len(references)} prompts has a reference, and a teacher is trained from references; bring a teacher "
            "(teacher.weights), or references (data.columns.reference)"
        )
    return prompts[known].tolist(), references[known].tolist()


def _read(split: str, sequences: Sequences) -> TextSet:
    prompts, references = _texts(split)
    found = sequences.prompts(prompts, f"data: {split}"), sequences.texts(references)
    return TextSet(*found, sequences.context)
