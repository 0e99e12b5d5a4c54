"""The files of a trained model: weights, description, history. Deterministic: the same run writes the same bytes."""

import csv
import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from tuition.files import atomic, write_json
from tuition.models.description import ModelDescription
from tuition.workspace import Model


def write_student(
    folder: Path,
    weights: dict[str, Tensor],
    meta: Mapping[str, object],
    history: Sequence[Mapping[str, float]],
    description: ModelDescription | None = None,
) -> None:
    """Write `weights.safetensors`, `meta.json`, `history.csv` and, where given, `student.json`: what is needed to build the model.

    A student of texts that has learnt a tokenizer has it in `tokenizer.json`.
    """
    files = Model(folder)
    shutil.rmtree(folder, ignore_errors=True)
    with atomic(files.weights) as file:
        file.write(save({key: value.contiguous() for key, value in weights.items()}))
    write_json(files.meta, meta)
    if description is not None:
        write_json(files.description, {key: value for key, value in description.items() if key != "tokenizer"})
        if "tokenizer" in description:
            with atomic(files.tokenizer) as file:
                file.write(description["tokenizer"].encode())
    text = io.StringIO()
    table = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    table.writeheader()
    table.writerows({**row, "step": int(row["step"])} for row in history)
    with atomic(files.history) as file:
        file.write(text.getvalue().encode())
