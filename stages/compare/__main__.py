"""`python -m stages.compare <budget>`: draw each method's comparison set among the outputs of that budget.

One folder a method, so that a cell depends on its own method's comparisons alone; a method that compares nothing, or only
within its batches, has a `meta.json` that says so. It also says which method a name of the study stands for, and the sha256 of that
method's file: through it a cell depends on the code of its own method and of no other.
"""

import hashlib
import shutil
from pathlib import Path

from tuition import methods
from tuition import params as parameters
from tuition.comparisons import checked_weights, draw, statistics
from tuition.errors import run
from tuition.files import read_array, write_array, write_json


def main(argv: list[str]) -> None:
    params, budget = parameters.load(), int(argv[0])
    source, folder = Path(f"outputs/{budget}"), Path(f"comparisons/{budget}")
    path = source / "logits.npy"
    logits = read_array(path) if path.exists() else None  # a teacher may give embeddings alone
    labels = read_array(Path("data/train/labels.npy"))[read_array(source / "positions.npy")]
    shutil.rmtree(folder, ignore_errors=True)
    for name in params.study.methods:
        base = methods.resolve(name, params.methods.get(name)).method
        meta: dict = {
            "strategy": "none",
            "method": base,
            "code": hashlib.sha256(methods.method_file(base).read_bytes()).hexdigest(),
        }
        if found := parameters.comparison_set(params, name):
            key, wanted = found
            weights = checked_weights(f"compare.sets.{key}.weights", wanted.k, wanted.weights)
            meta |= {"strategy": wanted.strategy, "k": wanted.k, "weights": weights.tolist()}
            said = "within each batch"
            if wanted.strategy != "in-batch":
                members, each = draw(
                    wanted.strategy, wanted.k, params.compare.limit, params.compare.seed, logits, labels, weights
                )
                write_array(folder / name / "members.npy", members)
                meta |= {
                    "count": len(members),
                    "seed": params.compare.seed,
                    "statistics": statistics(members, each, logits, labels),
                }
                said = str(meta["statistics"])
            print(f"compare {budget} {name}: {wanted.strategy}, k = {wanted.k}: {said}")
        write_json(folder / name / "meta.json", meta)


if __name__ == "__main__":
    run(main)
