"""`python -m stages.register`: MLflow in line with the study's files, and its best student in the model registry.

`python -m stages.register check` only looks whether it could be: whether the name is ours and the champion fits the data.
"""

from typing import TYPE_CHECKING, Any

from stages.register.choose import Cell, best_cell
from tuition import params as parameters
from tuition.errors import UserError, run
from tuition.files import file_digest, read_json, write_json
from tuition.params import Params
from tuition.registry import registry
from tuition.registry.check import check_name, check_registered_name, claim_name
from tuition.registry.decide import decide_promotion
from tuition.registry.evidence import keep_evidence
from tuition.registry.history import acting_user, promote_version
from tuition.registry.provenance import headline_figures, purchase_of_budget, version_tags
from tuition.registry.verdict import Verdict
from tuition.tracking import reconcile
from tuition.tracking.record import pool_digest
from tuition.tracking.store import Store, connect_store
from tuition.tracking.sync import Reconciled
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def main(argv: list[str]) -> None:
    """Register the study's best student and write `report/registered.json`; or only `check`.

    Raises UserError for arguments, cells without results, damaged files, a store that does not answer, a name that is another
    project's, and a champion of other samples or classes.
    """
    if argv not in ([], ["check"]):
        raise UserError(
            f"stages.register: found {' '.join(argv)!r}, expected no arguments, or check; usage: python -m stages.register [check]"
        )
    params = parameters.load()
    if argv:
        print(check_registered_name(params.registry.name))
        return
    winner = best_cell(params)
    opened = connect_store(params.registry.name)
    student = read_json(Workspace().student(winner["cell"]).description)
    check_name(opened, params.registry.name, student, student["class_names"], str(Workspace().student(winner["cell"])))
    done = reconcile(params, opened)
    registered = register(params, opened, winner, done)
    write_json(Workspace().report.registered, registered)
    print(f"mlflow: {len(done['written'])} of {len(done['cells'])} cells written, {len(done['superseded'])} superseded")
    print(f"{registered['name']} version {registered['version']} ({registered['cell']}): {registered['reason']}")


def register(params: Params, opened: Store, winner: Cell, done: Reconciled) -> dict[str, Any]:
    """Make the winner a version, unless it is one, and give it its aliases; returns what `registered.json` holds."""
    name, cell = params.registry.name, winner["cell"]
    path = Workspace().student(cell).weights
    weights, test_digest = file_digest(path), pool_digest("test")
    if weights is None:
        raise UserError(f"{path}: no such file; `dvc repro` makes it")
    claim_name(opened, name)
    found = registry.find_version(opened, name, weights, test_digest)
    run_id = (found and found.run_id) or done["cells"][cell]
    made = opened.client.get_run(done["cells"][cell]).data.tags
    purchase = purchase_of_budget(winner, made.get("digest.outputs"))
    keep_evidence(opened, run_id, cell, purchase)
    tags = version_tags(winner, purchase, done["study"], weights, test_digest)
    version = found or registry.add_version(opened, name, run_id, cell, tags)
    champion = registry.champion_of(opened, name)
    verdict = decide_promotion(opened, champion, version, params.registry)
    opened.client.set_registered_model_alias(name, registry.CHALLENGER, version.version)
    is_champion = champion is not None and str(champion.version) == str(version.version)
    if verdict["promoted"] and not is_champion:
        promote_version(opened, name, version, verdict, by=acting_user("register"), reason=verdict["reason"])
    known = f"the same student is version {version.version} already, not registered again; " if found else ""
    return {
        **_registered(winner, version, verdict, verdict["promoted"] or is_champion, known),
        "name": name,
        "weights_sha256": weights,
        "study_run_id": done["parent"],
        "experiment_id": opened.experiment,
    }


def _registered(
    winner: Cell, version: "ModelVersion", verdict: Verdict, is_champion: bool, known: str
) -> dict[str, Any]:
    """What is said of the version itself: its aliases, the more important one first, its figures and what it cost."""
    aliases = [registry.CHAMPION, registry.CHALLENGER] if is_champion else [registry.CHALLENGER]
    return {
        "version": str(version.version),
        "alias": aliases[0],
        "aliases": aliases,
        "cell": winner["cell"],
        "reason": f"{known}{aliases[0]}: {verdict['reason']}",
        "verdict": verdict,
        **({"against": winner["metrics"]["against"]} if "against" in winner["metrics"] else {}),
        **headline_figures(winner),
        "calls": winner["calls"],
        "cost": winner["cost"],
        "run_id": version.run_id,
    }


if __name__ == "__main__":
    run(main)
