"""`python -m stages.prepare`: read `data.source`, split it, write `data/`."""

import csv
import io
from pathlib import Path

from stages import params
from stages.arrays import atomic, digest, write_array, write_json
from stages.errors import UserError, run
from stages.params import Data
from stages.prepare import pixels, sources, split

OUT = Path("data")


def prepare(data: Data, out: Path) -> dict:
    """Write the splits of `data.source` below `out` and return what `meta.json` says.

    Raises UserError for data that cannot be read or split as asked.
    """
    raw = sources.load(data)
    found, duplicates = split.assign(raw, data)
    shape: tuple[int, ...] = ()
    for name, rows in found.items():
        images = raw.parts[rows.part].images[rows.rows]
        shape = images.shape[1:]
        write_array(out / name / "images.npy", images)
        write_array(out / name / "labels.npy", rows.labels)
        write_array(out / name / "ids.npy", rows.ids)
        if name == "train":
            mean, std = pixels.statistics(images)
            write_json(out / name / "meta.json", {"classes": raw.classes, "mean": mean, "std": std})
        else:
            facts = {"n": len(images), "digest": digest(images, rows.labels, rows.ids)}
            write_json(out / name / "meta.json", facts)
    _write_rejected(out / "rejected.csv", raw.rejected)
    meta = {
        "source": data.source,
        "classes": raw.classes,
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "splits": {name: len(rows.ids) for name, rows in found.items()},
        "rejected": len(raw.rejected),
        "duplicates": duplicates,
        "data": data.model_dump(exclude={"watch"}),
    }
    write_json(out / "meta.json", meta)
    return meta


def _write_rejected(path: Path, rejected: list[tuple[str, str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "reason"), *rejected])
    with atomic(path) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def main(argv: list[str]) -> None:
    if argv:
        raise UserError(f"stages.prepare takes no arguments; found {' '.join(argv)}")
    data = params.load().data
    meta = prepare(data, OUT)
    kind, _, place = data.source.partition(":")
    if kind in ("folder", "npz") and Path(data.watch) != Path(place):
        print(f"data.watch: {data.watch!r} is not {place!r}, so changed files there will not re-run this stage")
    sizes = ", ".join(f"{count} {name}" for name, count in meta["splits"].items())
    dropped = sum(count for key, count in meta["duplicates"].items() if "_in_" in key)
    shape = f"{meta['channels']}x{meta['height']}x{meta['width']}"
    print(
        f"{meta['source']}: {sizes}; {len(meta['classes'])} classes, {shape}; {meta['rejected']} unreadable files and "
        f"{dropped} duplicates across splits left out"
    )


if __name__ == "__main__":
    run(main)
