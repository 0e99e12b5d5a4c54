"""A student that writes: what it learns from, of the files of its budget and method."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stages.train.meta import best_row, cell_meta
from tuition import params as parameters
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs.kinds import workspace_inputs
from tuition.inputs.texts.files import read_references
from tuition.methods import build
from tuition.models.causal import describe_causal
from tuition.models.description import ModelDescription
from tuition.models.sequences import Sequences
from tuition.params import Params
from tuition.targets.tokens import left_out, unpack
from tuition.training.display import Speed
from tuition.training.language import train
from tuition.training.loop import Progress as Trained
from tuition.training.loop import Row
from tuition.training.sequences import TextSet
from tuition.workspace import Outputs, Workspace, cell_name


def train_language(
    params: Params, budget: int, name: str, seed: int, on_row: Callable[[Row], None]
) -> tuple[Trained, Speed, ModelDescription, dict[str, Any]]:
    """Train the cell's student: (what came of it, speed, the student's description, its meta)."""
    section, groups = params.methods.get(name), read_json(Workspace().comparisons(budget, name).meta)
    objective, outputs = build(name, section), Workspace().outputs(budget)
    settings = parameters.student_training(params, name)
    sequences = read_sequences(outputs)
    learns = getattr(objective.method, "learns", "answers")
    data = read_references_bought(outputs, sequences) if learns == "references" else read_answers(outputs, sequences)
    model = describe_causal(params.student.arch, sequences)
    done, speed = train(
        cell_name(budget, name, seed),
        model,
        objective,
        settings,
        seed,
        data,
        read_held("val", sequences),
        identity=[name, section, groups.get("code")],
        on_row=on_row,
    )
    best = best_row(done)
    meta = cell_meta(params, budget, name, seed, settings, groups, done) | {
        "samples": len(data.texts),
        "tokens": sum(map(len, data.texts)),
        "learns": learns,
        "val_token_accuracy": best["val_token_accuracy"],
        "val_nll": best["val_loss"],
    }
    if data.top_values is not None:
        text = np.asarray(read_array(outputs.signal("text")))
        meta["left_out"] = float(left_out(data.top_values, text).mean())
    return done, speed, model, meta


def read_sequences(outputs: Outputs) -> Sequences:
    """How the teacher reads, and so its students: their tokens are the same."""
    tokenizer = np.asarray(read_array(outputs.signal("tokenizer"))).tobytes().decode()
    return Sequences(tokenizer, int(read_array(outputs.signal("context"))))


def read_answers(outputs: Outputs, sequences: Sequences) -> TextSet:
    """The texts of the teacher's answers, with its likeliest tokens."""
    texts = unpack(np.asarray(read_array(outputs.signal("text"))))
    values, indices = (np.asarray(read_array(outputs.signal(name))) for name in ("top_values", "top_indices"))
    return TextSet(_prompts(outputs, sequences), texts, sequences.context, values, indices)


def read_references_bought(outputs: Outputs, sequences: Sequences) -> TextSet:
    """The references of the prompts that were bought. Raises UserError where none has one."""
    references = read_references(Workspace().split("train"))[read_array(outputs.positions)]
    known = np.flatnonzero(references != "")
    if not len(known):
        raise UserError(
            f"{outputs}: none of the {len(references)} prompts that were bought has a reference, from which 'sft' learns; name their "
            "column: data.columns.reference, or leave it out"
        )
    prompts = _prompts(outputs, sequences)
    return TextSet([prompts[row] for row in known], sequences.texts(references[known]), sequences.context)


def read_held(split: str, sequences: Sequences) -> TextSet:
    """What a student is held against on val or test."""
    files = Workspace().split(split)
    prompts = sequences.prompts(workspace_inputs().read(files.path), f"data: {split}")
    return TextSet(prompts, sequences.texts(read_references(files)), sequences.context)


def _prompts(outputs: Outputs, sequences: Sequences) -> list[list[int]]:
    prompts = workspace_inputs().read(Workspace().split("train").path)[read_array(outputs.positions)]
    return sequences.prompts(prompts, "data: train")
