"""`python -m stages.compare <budget>`: draw each method's comparison set among the outputs of that budget.

One folder a method, so that a cell depends on its own method's comparisons alone; a method that compares nothing, or only
within its batches, has a `meta.json` that says so.
"""

import shutil
from pathlib import Path

from stages import params as parameters
from stages.arrays import read_array, write_array, write_json
from stages.compare.sets import draw, statistics
from stages.errors import run


def main(argv: list[str]) -> None:
    params, budget = parameters.load(), int(argv[0])
    source, folder = Path(f"outputs/{budget}"), Path(f"comparisons/{budget}")
    logits = read_array(source / "logits.npy")
    labels = read_array(Path("data/train/labels.npy"))[read_array(source / "positions.npy")]
    shutil.rmtree(folder, ignore_errors=True)
    for method in params.study.methods:
        wanted = params.compare.sets.get(method)
        if wanted is None:
            write_json(folder / method / "meta.json", {"strategy": "none"})
            continue
        meta: dict = {"strategy": wanted.strategy, "k": wanted.k}
        if wanted.strategy != "in-batch":
            members, weights = draw(
                wanted.strategy, wanted.k, params.compare.limit, params.compare.seed, logits, labels
            )
            write_array(folder / method / "members.npy", members)
            write_array(folder / method / "weights.npy", weights)
            meta |= {
                "count": len(members),
                "seed": params.compare.seed,
                "statistics": statistics(members, weights, logits, labels),
            }
        write_json(folder / method / "meta.json", meta)
        said = "within each batch" if wanted.strategy == "in-batch" else meta["statistics"]
        print(f"compare {budget} {method}: {wanted.strategy}, k = {wanted.k}: {said}")


if __name__ == "__main__":
    run(main)
