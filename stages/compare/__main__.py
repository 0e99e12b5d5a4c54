"""`python -m stages.compare <budget>`: draw each method's comparison set among the outputs of that budget.

One folder a method, so that a cell depends on its own method's comparisons alone; a method that compares nothing, or only
within its batches, has a `meta.json` that says so. It also says which method a name of the study stands for, and the sha256 of that
method's file: through it a cell depends on the code of its own method and of no other. So it does on the estimates, where the method's
students learn from them: cells that see bought samples alone stay as they are when an estimator is changed.
"""

import hashlib
import os
import shutil
from typing import Any

import numpy as np

from tuition import estimates
from tuition import params as parameters
from tuition.comparisons import checked_weights, draw, statistics
from tuition.errors import read_arguments, run
from tuition.files import read_array, write_array, write_json
from tuition.methods import BUILT_IN, method_file, resolve
from tuition.params import Compare, ComparisonSet
from tuition.targets.classes import complete
from tuition.workspace import Comparisons, Workspace


def main(argv: list[str]) -> None:
    (budget,) = read_arguments("stages.compare", argv, budget=int)
    params = parameters.load()
    workspace = Workspace()
    outputs = workspace.outputs(budget)
    path = outputs.signal("logits")
    logits = complete(read_array(path)) if path.exists() else None  # a teacher may give embeddings alone
    labels = read_array(workspace.split("train").labels)[read_array(outputs.positions)]
    shutil.rmtree(workspace.comparisons_of(budget), ignore_errors=True)
    for name in params.study.methods:
        folder, meta = (
            workspace.comparisons(budget, name),
            describe_code(resolve(name, params.methods.get(name)).method),
        )
        if chosen := parameters.comparison_set(params, name):
            drawn = draw_set(folder, *chosen, params.compare, logits, labels)
            print(
                f"compare {budget} {name}: {drawn['strategy']}, k = {drawn['k']}: {drawn.get('statistics', 'within each batch')}"
            )
            meta |= drawn
        if parameters.student_training(params, name).rest in ("estimated", "both"):
            meta["estimates"] = estimates.identity(budget)
        write_json(folder.meta, meta)


def describe_code(method: str) -> dict[str, Any]:
    """What the meta.json of a method that compares nothing says: its name and the sha256 of its file, and of a user's own the file."""
    file = method_file(method)
    meta = {"strategy": "none", "method": method, "code": hashlib.sha256(file.read_bytes()).hexdigest()}
    return meta if method in BUILT_IN else {**meta, "file": os.path.relpath(file)}


def draw_set(
    folder: Comparisons,
    key: str,
    chosen: ComparisonSet,
    compare: Compare,
    logits: np.ndarray | None,
    labels: np.ndarray,
) -> dict[str, Any]:
    """Draw the set `compare.sets.<key>` and write its members, unless batches make it; returns what meta.json says of it."""
    weights = checked_weights(f"compare.sets.{key}.weights", chosen.k, chosen.weights)
    meta: dict[str, Any] = {"strategy": chosen.strategy, "k": chosen.k, "weights": weights.tolist()}
    if chosen.strategy == "in-batch":
        return meta
    members, each = draw(chosen.strategy, chosen.k, compare.limit, compare.seed, logits, labels, weights)
    write_array(folder.members, members)
    figures = statistics(members, each, logits, labels)
    return meta | {"count": len(members), "seed": compare.seed, "statistics": figures}


if __name__ == "__main__":
    run(main)
