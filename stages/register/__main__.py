"""`python -m stages.register`: MLflow in line with the study's files, and its best student in the model registry.

`python -m stages.register check` only looks whether it could be: whether the name is ours and the champion fits the data.
"""

from pathlib import Path
from typing import Any

from stages.register import choose
from tuition import params as parameters
from tuition.errors import UserError, run
from tuition.files import read_json, write_json
from tuition.params import Params
from tuition.registry import evidence, history, origin, registry
from tuition.registry.check import check, check_name, claim
from tuition.registry.decide import decide
from tuition.tracking import reconcile, record, store

TARGET = Path("report/registered.json")


def main(argv: list[str]) -> None:
    """Register the study's best student and write `report/registered.json`; or only `check`.

    Raises UserError for arguments, cells without results, damaged files, a store that does not answer, a name that is another
    project's, and a champion of other images or classes.
    """
    if argv not in ([], ["check"]):
        raise UserError(f"found {' '.join(argv)!r}; `python -m stages.register` takes no arguments, or `check`")
    params = parameters.load()
    if argv:
        print(check(params.registry.name))
        return
    winner = choose.best(params)
    opened = store.connect(params.registry.name)
    student = read_json(Path("students", winner["cell"], "student.json"))
    shape = (student["channels"], student["height"], student["width"])
    check_name(opened, params.registry.name, shape, student["class_names"], f"students/{winner['cell']}")
    done = reconcile(params, opened)
    registered = register(params, opened, winner, done)
    write_json(TARGET, registered)
    print(f"mlflow: {len(done['written'])} of {len(done['cells'])} cells written, {len(done['superseded'])} superseded")
    print(f"{registered['name']} version {registered['version']} ({registered['cell']}): {registered['reason']}")


def register(params: Params, opened: store.Store, winner: dict[str, Any], done: dict[str, Any]) -> dict[str, Any]:
    """Make the winner a version, unless it is one, and give it its aliases; returns what `registered.json` holds."""
    name, cell = params.registry.name, winner["cell"]
    weights = record.file_digest(Path("students", cell, "weights.safetensors"))
    if weights is None:
        raise UserError(f"students/{cell}/weights.safetensors: no such file; `dvc repro` makes it")
    test_digest = record.pool_digest("test")
    claim(opened, name)
    found = registry.find_version(opened, name, weights, test_digest)
    run_id = found.run_id if found else done["cells"][cell]
    made = opened.client.get_run(done["cells"][cell]).data.tags
    bought = origin.bought(winner, made.get("digest.outputs"))
    evidence.keep(opened, run_id, cell, bought)
    tags = origin.tags(winner, bought, done["study"], weights, test_digest)
    version = found or registry.add_version(opened, name, run_id, cell, tags)
    champion = registry.champion_of(opened, name)
    verdict = decide(opened, champion, version, params.registry)
    opened.client.set_registered_model_alias(name, registry.CHALLENGER, version.version)
    is_champion = champion is not None and str(champion.version) == str(version.version)
    if verdict["promoted"] and not is_champion:
        history.promote(opened, name, version, verdict, by=history.somebody("register"), reason=verdict["reason"])
    aliases = [registry.CHALLENGER]
    if verdict["promoted"] or is_champion:
        aliases = [registry.CHAMPION, registry.CHALLENGER]
    known = f"the same student is version {version.version} already, not registered again; " if found else ""
    metrics = winner["metrics"]
    return {
        "name": name,
        "version": str(version.version),
        "alias": aliases[0],
        "aliases": aliases,
        "cell": cell,
        "weights_sha256": weights,
        "reason": f"{known}{aliases[0]}: {verdict['reason']}",
        "verdict": verdict,
        "val_top1": metrics["val_top1"],
        "test_top1": metrics["top1"],
        "calls": winner["calls"],
        "cost": winner["cost"],
        "run_id": version.run_id,
        "study_run_id": done["parent"],
        "experiment_id": opened.experiment,
    }


if __name__ == "__main__":
    run(main)
