"""`python -m stages.register`: MLflow in line with the study's files, and its best student in the model registry."""

from pathlib import Path
from typing import Any

from stages import params as parameters
from stages.arrays import write_json
from stages.errors import UserError, run
from stages.params import Params
from stages.register import choose, registry
from stages.tracking import lineage, reconcile, record, store

TARGET = Path("report/registered.json")


def main(argv: list[str]) -> None:
    """Register the study's best student and write `report/registered.json`.

    Raises UserError for arguments, cells without results, damaged files, and a store that does not answer.
    """
    if argv:
        raise UserError(f"found {' '.join(argv)!r}; `python -m stages.register` takes no arguments")
    params = parameters.load()
    winner = choose.best(params)
    opened = store.connect(params.registry.name)
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
    found = registry.find_version(opened, name, weights)
    tags = _lineage(winner, done, weights, test_digest)
    version = found or registry.add_version(opened, name, done["cells"][cell], cell, tags, Path("data/test"))
    champion = registry.champion_of(opened, name)
    verdict = registry.decide(opened, champion, version, cell, test_digest, params.registry.alpha)
    aliases = ["champion", "challenger"] if verdict.promoted else ["challenger"]
    for alias in aliases:
        opened.client.set_registered_model_alias(name, alias, version.version)
    known = f"the same student is version {version.version} already, not registered again; " if found else ""
    metrics = winner["metrics"]
    return {
        "name": name, "version": str(version.version), "alias": aliases[0], "aliases": aliases, "cell": cell,
        "weights_sha256": weights, "reason": f"{known}{aliases[0]}: {verdict.reason}",
        "val_top1": metrics["val_top1"], "test_top1": metrics["top1"],
        "calls": winner["calls"], "cost": winner["cost"], "run_id": version.run_id,
    }  # fmt: skip


def _lineage(winner: dict[str, Any], done: dict[str, Any], weights: str, test_digest: str) -> dict[str, str]:
    """The tags of a version: what made this student, and what it cost."""
    cell, outputs = winner["cell"], Path("outputs", str(winner["budget"]))
    hashes = lineage.dvc_hashes()
    paths = {"student": f"students/{cell}", "outputs": str(outputs), "data": "data"}
    teacher = record.read_json(outputs / "meta.json")["teacher"]
    commit = lineage.git()
    values = {
        "cell": cell, "study": done["study"], "weights_sha256": weights, "test_digest": test_digest,
        "val_top1": winner["metrics"]["val_top1"], "test_top1": winner["metrics"]["top1"],
        "teacher": teacher.get("name"), "teacher_fingerprint": teacher.get("fingerprint"),
        "calls": winner["calls"], "cost": winner["cost"],
        "git_commit": commit.get("mlflow.source.git.commit"), "git_dirty": commit.get("git.dirty"),
        **{f"dvc_{what}": hashes.get(path) for what, path in paths.items()},
    }  # fmt: skip
    return {key: str(value) for key, value in values.items() if value is not None}


if __name__ == "__main__":
    run(main)
