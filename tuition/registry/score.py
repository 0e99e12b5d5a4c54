"""A registered model on a folder of images: `python -m tuition.registry.score FOLDER --model models:/<name>@champion --out FILE`.

A row a file, in the order of their paths: the class and its probability, or the reason why the file could not be read.
"""

import argparse
import csv
import io
from pathlib import Path

from tuition.errors import UNSPEAKABLE, UserError, run
from tuition.files import atomic
from tuition.inputs.kinds import IMPLIED
from tuition.registry.predict import Prediction, Predictions, registered_student
from tuition.sources.folder import files_below, open_image
from tuition.workspace import given, lacking


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tuition.registry.score", description="Classify a folder of images."
    )
    parser.add_argument("folder", type=Path, help="images of any kind, however deep")
    parser.add_argument("--model", required=True, help="models:/<name>@champion or models:/<name>/<version>")
    parser.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="the table to write (default predictions.csv)"
    )
    parser.add_argument("--probabilities", action="store_true", help="a column for each class, too")
    options = parser.parse_args(argv)
    options.folder, options.out = given(options.folder), given(options.out)  # of a flow no shell has done it
    if not options.folder.is_dir():
        raise UserError(f"{options.folder}: {lacking(options.folder, 'folder') or 'not a folder'}")
    files = [file for file in files_below(options.folder) if file.resolve() != options.out.resolve()]
    if not files:
        raise UserError(f"{options.folder}: no files below it")
    student = registered_student(options.model)
    if student.kind != IMPLIED:
        raise UserError(
            f"{options.model}: it takes {student.kind}, not a folder of images; `tuition predict table.csv --csv {options.out}` asks it"
        )
    names = [file.relative_to(options.folder).as_posix() for file in files]
    asked = Predictions(student, names, lambda index: open_image(files[index]), str(options.folder))
    columns = ["file", "class", "probability", "reason"]
    columns += [f"p_{name}" for name in student.classes] if options.probabilities else []
    counts: dict[str, int] = {}
    rejected = 0
    with atomic(options.out) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", errors=UNSPEAKABLE, newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for one in asked:
            row = _row(one, student.classes, options.probabilities)
            writer.writerow(row)
            rejected += row[1] == ""
            counts[row[1]] = counts.get(row[1], 0) + 1
        text.detach()
    counts.pop("", None)
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:8,}  {name}")
    for warning in asked.warnings():
        print(f"warning: {options.folder}: {warning}")
    print(f"{options.out}: {len(files):,} files, {len(files) - rejected:,} classified, {rejected:,} could not be read")


def _row(one: Prediction, classes: list[str], probabilities: bool) -> list[str]:
    """The cells of a file's row."""
    if one.probabilities is None:
        return [one.file, "", "", one.reason, *([""] * len(classes) if probabilities else [])]
    best = int(one.probabilities.argmax())
    more = [f"{p:.6g}" for p in one.probabilities] if probabilities else []
    return [one.file, classes[best], f"{one.probabilities[best]:.6g}", "", *more]


if __name__ == "__main__":
    run(main)
