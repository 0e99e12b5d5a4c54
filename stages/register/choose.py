"""Which student of the study is the best, by validation alone: the test split has no say in it."""

from typing import Any, TypedDict

from tuition.errors import UserError
from tuition.files import read_json
from tuition.params import Params
from tuition.targets.truth import headline
from tuition.workspace import Workspace, cell_name


class Cell(TypedDict):
    cell: str
    budget: int
    method: str
    seed: int
    calls: int
    cost: float
    metrics: dict[str, Any]


def best_cell(params: Params) -> Cell:
    """The cell with the highest val_top1; of equal ones that with the lowest val_nll, then the fewest calls. Of retrieval: val_ndcg10 and
    val_loss.

    Raises UserError where a cell of the study has no results.
    """
    cells: list[Cell] = []
    missing = []
    for budget, method, seed in params.study.cells():
        name = cell_name(budget, method, seed)
        path = Workspace().results(name).metrics
        if not path.is_file():
            missing.append(name)
            continue
        spend = read_json(Workspace().outputs(budget).spend)
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
    _, val, tie = headline(cells[0]["metrics"].get("against"))
    return min(cells, key=lambda c: (-c["metrics"][val], c["metrics"][tie], c["calls"], c["cell"]))
