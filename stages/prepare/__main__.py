"""`python -m stages.prepare`: read `data.source`, split it, write `data/`.

`python -m stages.prepare transfer` does the same with `transfer.source`, after `data/` is there; without a source it
writes a `meta.json` that says so.
"""

import csv
import io
from pathlib import Path

import numpy as np

from stages import params
from stages.arrays import atomic, digest, read_json, write_array, write_json
from stages.errors import UserError, run
from stages.params import Data, Transfer
from stages.prepare import additions, alter, pixels, sources, split, transfer

OUT, TRANSFER = Path("data"), Path("transfer")
ALTERING = ("noise", "imbalance")  # not told where they are off: files made before there were such keys stay valid


def prepare(data: Data, out: Path, expected: tuple[int, ...] | None = None) -> dict:
    """Write the splits of `data.source` below `out` and return what `meta.json` says.

    Raises UserError for data that cannot be read or split as asked, and for images that are not (C, H, W) as `expected`.
    """
    raw = sources.load(data)
    if expected and (found_shape := raw.parts["train"].images.shape[1:]) != expected:
        raise UserError(
            f"{data.source}: images are {found_shape}, those of `data` {expected} (channels, height, width)"
        )
    found, duplicates = split.assign(raw, data)
    found["train"], altered = alter.alter(found["train"], raw.classes, data)
    shape = raw.parts["train"].images.shape[1:]
    sizes: dict[str, int] = {}
    for name, rows in found.items():
        images, labels, ids = raw.parts[rows.part].images[rows.rows], rows.labels, rows.ids
        if name == "train":
            mean, std = pixels.statistics(images)  # the source's: a teacher that takes them stays the same teacher
            facts = {"classes": raw.classes, "mean": mean, "std": std} | ({"altered": altered} if altered else {})
            if data.additions:
                *more, counts = additions.read(data.additions, raw.classes, shape, found)
                images, labels, ids = (np.concatenate(two) for two in zip((images, labels, ids), more, strict=True))
                duplicates |= counts
                facts["additions"] = len(more[0])
            write_json(out / name / "meta.json", facts)
        else:
            write_json(out / name / "meta.json", {"n": len(images), "digest": digest(images, labels, ids)})
        write_array(out / name / "images.npy", images)
        write_array(out / name / "labels.npy", labels)
        write_array(out / name / "ids.npy", ids)
        sizes[name] = len(ids)
    _write_rejected(out / "rejected.csv", raw.rejected)
    meta = {
        "source": data.source,
        "classes": raw.classes,
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "splits": sizes,
        "rejected": len(raw.rejected),
        "duplicates": duplicates,
        "data": data.model_dump(
            exclude={"watch", *(() if altered else ALTERING), *(() if data.additions else ("additions",))}
        ),
    } | ({"altered": altered} if altered else {})
    write_json(out / "meta.json", meta)
    return meta


def _write_rejected(path: Path, rejected: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "reason"), *rejected])
    with atomic(path) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def prepare_transfer(settings: Transfer, data: Data, trained_on: Path, out: Path) -> dict:
    """Write the splits of `transfer.source`, made like those in `trained_on`, below `out`; return what `meta.json` says."""
    if settings.source is None:
        write_json(out / "meta.json", {"source": None})
        return {"source": None}
    meta = read_json(trained_on / "meta.json")
    try:
        own = transfer.settings(settings, data, meta)
        return prepare(own, out, (meta["channels"], meta["height"], meta["width"]))
    except UserError as error:
        raise transfer.own_words(error) from None


def main(argv: list[str]) -> None:
    if argv not in ([], ["transfer"]):
        raise UserError(f"stages.prepare takes no arguments, or `transfer`; found {' '.join(argv)}")
    settings = params.load()
    if argv:
        meta = prepare_transfer(settings.transfer, settings.data, OUT, TRANSFER)
        if meta["source"] is None:
            print("transfer.source is null: students are tested on data alone")
            return
    else:
        meta = prepare(settings.data, OUT)
        kind, _, place = settings.data.source.partition(":")
        if kind in ("folder", "npz") and Path(settings.data.watch) != Path(place):
            print(
                f"data.watch: {settings.data.watch!r} is not {place!r}, so changed files there will not re-run this stage"
            )
    sizes = ", ".join(f"{count} {name}" for name, count in meta["splits"].items())
    dropped = sum(count for key, count in meta["duplicates"].items() if "_in_" in key)
    shape = f"{meta['channels']}x{meta['height']}x{meta['width']}"
    print(
        f"{meta['source']}: {sizes}; {len(meta['classes'])} classes, {shape}; {meta['rejected']} unreadable files and "
        f"{dropped} duplicates across splits left out"
    )
    if "altered" in meta:
        print(alter.told(meta["altered"]))


if __name__ == "__main__":
    run(main)
