"""Which student of the study is the best, by validation alone: the test split has no say in it."""

from pathlib import Path
from typing import Any

from tuition.errors import UserError
from tuition.files import read_json
from tuition.params import Params
from tuition.workspace import cell_name


def best(params: Params) -> dict[str, Any]:
    """The cell with the highest val_top1; of equal ones that with the lowest val_nll, then the fewest calls.

    Returns {"cell", "budget", "method", "seed", "calls", "cost", "metrics"}.
    Raises UserError where a cell of the study has no results.
    """
    cells = []
    missing = []
    for budget, method, seed in params.study.cells():
        name = cell_name(budget, method, seed)
        path = Path("results", name, "metrics.json")
        if not path.is_file():
            missing.append(name)
            continue
        spend = read_json(Path("outputs", str(budget), "spend.json"))
        cells.append(
            {
                "cell": name,
                "budget": budget,
                "method": method,
                "seed": seed,
                "calls": spend["calls"],
                "cost": spend["cost"],
                "metrics": read_json(path),
            }
        )
    if missing:
        shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        raise UserError(f"results/: no metrics.json for {shown} ({len(missing)} cells); `dvc repro` makes them")
    return min(cells, key=lambda c: (-c["metrics"]["val_top1"], c["metrics"]["val_nll"], c["calls"], c["cell"]))
