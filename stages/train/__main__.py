"""`python -m stages.train <budget> <method> <seed>`: train one cell's student on what that budget bought."""

from pathlib import Path

from stages import params as parameters
from stages.arrays import read_array, read_json, write_json
from stages.errors import UserError, run
from stages.train import student
from stages.train.methods import build, load_class
from stages.train.run import describe, read_split, train


def main(argv: list[str]) -> None:
    params = parameters.load()
    budget, method, seed = int(argv[0]), argv[1], int(argv[2])
    cell, settings = parameters.cell_name(budget, method, seed), params.methods.get(method) or {}
    bought, compared = Path(f"outputs/{budget}"), Path(f"comparisons/{budget}/{method}")
    images, labels = read_split("train")
    positions = read_array(bought / "positions.npy")
    teacher = {signal: read_array(bought / f"{signal}.npy") for signal in load_class(method).signals}
    groups = read_json(compared / "meta.json")
    members, weights = _groups(method, compared, groups)

    model = describe(params.student.arch, images)
    from stages.tracking import Live  # imports no MLflow until a run has lasted a while

    live = Live(params, budget, method, seed)
    try:
        done, speed = train(
            cell, model, build(method, settings), params.train, seed,
            images=images[positions], labels=labels[positions], teacher=teacher, members=members, weights=weights,
            identity=[method, settings], on_row=live.row,
        )  # fmt: skip
    finally:
        live.close()
    best = done.history[[row["step"] for row in done.history].index(done.best_step)]
    meta = {
        "budget": budget, "method": method, "seed": seed, "samples": len(positions), "comparisons": groups,
        "settings": {"train": params.train.model_dump(), "student": params.student.model_dump(), method: settings},
        "best_step": done.best_step, "val_top1": best["val_top1"], "val_loss": best["val_loss"],
    }  # fmt: skip
    student.write(Path("students") / cell, done.best, meta, done.history, model)
    write_json(Path("speed") / f"{cell}.json", speed)
    print(
        f"train {cell}: val top-1 {100 * best['val_top1']:.2f} % at step {done.best_step}, {speed['images_per_second']:,.0f} images/s"
    )


def _groups(method: str, folder: Path, groups: dict):
    """(members (M, k) or None, one group's weights (k,) or None) of the method's comparison set."""
    if not load_class(method).compares:
        return None, None
    if groups["strategy"] == "none":
        raise UserError(f"compare.sets.{method}: no such section, but {method!r} compares samples")
    if groups["strategy"] == "in-batch":
        from stages.compare.sets import group_weights

        return None, group_weights(groups["k"]).astype("float32")
    return read_array(folder / "members.npy"), read_array(folder / "weights.npy")[0].copy()


if __name__ == "__main__":
    run(main)
