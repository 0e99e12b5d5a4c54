"""Claim: a teacher call is paid once, whatever changes after it. Counted at the teacher, not in the ledger."""

import argparse
import shutil

from benchmarks.common import COUNTING, Home, home, save, set_params, table

EXPECTED = [0, 0, 0, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=int, default=400, help="teacher calls; doubled in the last step")
    parser.add_argument("--steps", type=int, default=10, help="training steps a cell")
    args = parser.parse_args()
    study = {
        **COUNTING,
        "study.budgets": [args.budget],
        "study.methods": ["kd", "ckd-mse"],
        "study.seeds": [0],
        "train.steps": args.steps,
        "train.validate_every": args.steps,
    }
    with home() as place:
        rows = measure(place, study, args.budget)
    table(rows)
    new = [row["new_calls"] for row in rows]
    assert new == [args.budget, *EXPECTED, args.budget], f"paid {new}"
    save("pay_once", __doc__.strip(), vars(args), rows)


def measure(place: Home, study: dict, budget: int) -> list[dict]:
    """The calls that the teacher received in each step of a study's life."""
    folder = place.clone("study", study)
    rows: list[dict] = []

    def step(what: str, **changes: object) -> None:
        study.update({key.replace("__", "."): value for key, value in changes.items()})
        set_params(folder, study)
        before = received(place)
        place.repro(folder)
        rows.append({"step": what, "new_calls": received(place) - before, "calls_in_all": received(place)})

    step("dvc repro in a new clone")
    step("other settings of a method", methods__kd={"temperature": 2.0, "weight_ce": 0.5, "weight_kd": 0.5})
    step("a second seed", study__seeds=[0, 1])
    step("another student", student__arch="resnet14")
    shutil.rmtree(folder)
    folder = place.clone("study", study)
    step("workspace deleted and cloned again")
    step(f"budget {budget} to {2 * budget}", study__budgets=[2 * budget])
    return rows


def received(place: Home) -> int:
    return len(place.bill.read_text().splitlines()) if place.bill.exists() else 0


if __name__ == "__main__":
    main()
