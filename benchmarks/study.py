"""A study's table and picture: runs params.yaml, with changes, in a temporary clone.

`-S key=value` changes a parameter, such as `-S study.seeds=[0,1,2]` or `-S data.source=npz:/path/file.npz` (paths: absolute).
"""

import argparse
import csv
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.common import FEW, ROOT, home, save, table


def change(text: str) -> tuple[str, Any]:
    """`key=value` with a YAML value."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected key=value")
    return key, YAML(typ="safe", pure=True).load(value)


def read(path: Path) -> list[dict[str, Any]]:
    """A CSV file's rows, numbers as numbers; nan is null, as JSON has none."""
    with path.open() as file:
        return [{key: number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def number(text: str) -> Any:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if value == value else None
    return text or None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the result, and of the picture in docs/")
    parser.add_argument("-S", dest="changes", metavar="key=value", type=change, action="append", default=[])
    parser.add_argument(
        "--few", action="store_true", help="with the settings of the methods' tables, and without the pool"
    )
    parser.add_argument("--ledger", type=Path, help="keep what is bought in this ledger; default: a temporary one")
    parser.add_argument("--keep", action="store_true", help="leave the clone where it is")
    args = parser.parse_args()
    changes = dict(args.changes)
    with home(args.keep) as place:
        if args.ledger:
            place.ledger = args.ledger.absolute()
        folder = place.clone("study", changes, base=FEW if args.few else {})
        begin = time.perf_counter()
        place.run(folder, "tuition.forkserver.around", sys.executable, "-m", "dvc", "repro")  # as `make repro` has it
        seconds = time.perf_counter() - begin
        report = folder / "report"
        figures = {
            "seconds": round(seconds, 1),
            "data": {
                key: value
                for key, value in json.loads((folder / "data/meta.json").read_text()).items()
                if key != "classes"
            },
            "spend": [json.loads(path.read_text()) for path in sorted((folder / "spend").glob("*.json"))],
            "summary": read(report / "summary.csv"),
            "paired": read(report / "paired.csv"),
        }
        (ROOT / "docs").mkdir(exist_ok=True)
        for kind in ("svg", "png"):
            shutil.copy(report / f"accuracy.{kind}", ROOT / "docs" / f"{args.name}.{kind}")
    table(
        [
            {key: row[key] for key in ("budget", "method", "n", "calls", "top1", "low", "high")}
            for row in figures["summary"]
        ]
    )
    table(
        [
            {key: row[key] for key in ("budget", "method", "baseline", "n", "difference", "low", "high", "p")}
            for row in figures["paired"]
        ]
    )
    save(args.name, __doc__.strip().splitlines()[0], {"changes": changes}, figures)


if __name__ == "__main__":
    main()
