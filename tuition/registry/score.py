"""A registered model on a folder of images, or on a table of texts:
`python -m tuition.registry.score PLACE --model models:/<name>@champion --out FILE`.

A row a file, in the order of their paths, or a row a text, in the order of the table: the class and its probability, or the
reason why it could not be read.
"""

import argparse
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from tuition.errors import UNSPEAKABLE, UserError, run
from tuition.files import atomic
from tuition.inputs.kinds import IMPLIED
from tuition.params import FILE, Columns, load
from tuition.registry.predict import Classifier, Prediction, Predictions, classified, registered_student
from tuition.sources.folder import files_below, open_image
from tuition.sources.readers import READERS, open_table
from tuition.sources.texts import read_texts
from tuition.workspace import given, lacking


class Asked(NamedTuple):
    """What is asked about, once the student is known: what a row is of, the rows, and afterwards what is to be told of them."""

    of: str  # file | text
    rows: Iterable[Prediction]
    warnings: Callable[[], list[str]]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tuition.registry.score", description="Classify a folder of images, or a table of texts."
    )
    parser.add_argument("place", type=Path, help=f"images of any kind, however deep, or a table: {', '.join(READERS)}")
    parser.add_argument("--model", required=True, help="models:/<name>@champion or models:/<name>/<version>")
    parser.add_argument(
        "--out", type=Path, default=Path("predictions.csv"), help="the table to write (default predictions.csv)"
    )
    parser.add_argument("--column", help="of a table, the column with the texts (default that of params.yaml)")
    parser.add_argument("--probabilities", action="store_true", help="a column for each class, too")
    options = parser.parse_args(argv)
    place, out = given(options.place), given(options.out)  # of a flow no shell has done it
    asks = _asks(place, out, options.column)
    student = registered_student(options.model)
    asked = asks(student, options.model)
    counts = _write(out, asked, student.classes, options.probabilities)
    total, rejected = counts.total(), counts.pop("", 0)
    for name, count in counts.most_common():
        print(f"{count:8,}  {name}")
    for warning in asked.warnings():
        print(f"warning: {place}: {warning}")
    print(f"{out}: {total:,} {asked.of}s, {total - rejected:,} classified, {rejected:,} could not be read")


def _asks(place: Path, out: Path, column: str | None) -> Callable[[Classifier, str], Asked]:
    """How a student is asked about what lies there. Raises UserError where it is neither a folder with files nor a table."""
    if place.is_dir():
        files = [file for file in files_below(place) if file.resolve() != out.resolve()]
        if not files:
            raise UserError(f"{place}: no files below it")
        return lambda student, model: _of_folder(student, model, place, files)
    if place.is_file() and place.suffix.lower().removeprefix(".") in READERS:
        if place.resolve() == out.resolve():
            raise UserError(f"{place}: the table to read and the table to write (--out) are one file")
        return lambda student, model: _of_table(student, model, place, column)
    what = lacking(place, "folder") or f"not a folder, nor a table of texts ({', '.join(READERS)})"
    raise UserError(f"{place}: {what}")


def _of_folder(student: Classifier, model: str, folder: Path, files: list[Path]) -> Asked:
    if student.kind != IMPLIED:
        raise UserError(
            f"{model}: it takes {student.kind}, found a folder; name a table of texts: {', '.join(READERS)}"
        )
    names = [file.relative_to(folder).as_posix() for file in files]
    asked = Predictions(student, names, lambda index: open_image(files[index]), str(folder))
    return Asked("file", asked, asked.warnings)


def _of_table(student: Classifier, model: str, path: Path, column: str | None) -> Asked:
    """The texts of `column`, else of the columns of params.yaml, else as `read_texts` finds them."""
    if student.kind != "texts":
        raise UserError(f"{model}: it takes {student.kind}, found a table; name a folder of images")
    columns = Columns(text=column) if column else load().data.columns if FILE.is_file() else Columns()
    return Asked("text", classified(student, read_texts(open_table(path, str(path)), columns)), list)


def _write(out: Path, asked: Asked, classes: list[str], probabilities: bool) -> Counter[str]:
    """Write the table; returns how many rows each class has, "" for those that could not be read."""
    columns = [asked.of, "class", "probability", "reason"]
    columns += [f"p_{name}" for name in classes] if probabilities else []
    counts: Counter[str] = Counter()
    with atomic(out) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", errors=UNSPEAKABLE, newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for one in asked.rows:
            row = _row(one, classes, probabilities)
            writer.writerow(row)
            counts[row[1]] += 1
        text.detach()
    return counts


def _row(one: Prediction, classes: list[str], probabilities: bool) -> list[str]:
    """The cells of a row."""
    if one.probabilities is None:
        return [one.file, "", "", one.reason, *([""] * len(classes) if probabilities else [])]
    best = int(one.probabilities.argmax())
    more = [f"{p:.6g}" for p in one.probabilities] if probabilities else []
    return [one.file, classes[best], f"{one.probabilities[best]:.6g}", "", *more]


if __name__ == "__main__":
    run(main)
