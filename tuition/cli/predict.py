"""`tuition predict`: image files and folders, or texts and tables of them, classified by a student."""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuition.cli.console import AsJson, explained, print_table
from tuition.errors import UNSPEAKABLE, UserError

if TYPE_CHECKING:
    from tuition.registry.predict import Classifier, Prediction, Predictions
    from tuition.registry.written import Writes
    from tuition.sources.texts import Row

STDIN = "-"
LONGEST_NAME = 256  # characters of a file's; what is longer is a text
SHOWN = 80  # characters of a text in a table on the screen


@explained
def predict(
    given: Annotated[
        list[str],
        typer.Argument(help="Image files and folders of them, or texts and tables of them; - for one of stdin."),
    ],
    model: Annotated[
        str | None, typer.Option(help="models:/<name>@champion or models:/<name>/<version>; by default the champion.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A student's folder, such as students/400-kd-0.")] = None,
    column: Annotated[str | None, typer.Option(help="Of tables, the column with the texts.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes a sample, the likeliest first.")] = 1,
    to_csv: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Classify images of any size, or texts, or write a text to a prompt; exit status 1 where some could not be read.

    Example: `tuition predict photos/ cat.jpg --top 3`, of a student of texts `tuition predict "where is my card?" tickets.csv`
    """
    if model and weights:
        raise UserError("found --model and --weights; give one of them")
    if (writes := _writer(model, weights)) is not None:
        _print_texts(writes, given, as_json)
        return
    student = _student(model, weights)
    warnings: list[str] = []
    if student.kind == "texts":
        from tuition.registry.predict import classified

        of, rows = (
            "text",
            [_row(one, "text", student.classes, top) for one in classified(student, _texts(given, column))],
        )
    else:
        with _asked(student, _files(given, to_csv)) as asked:
            of, rows = "file", [_row(one, "file", student.classes, top) for one in asked]
        warnings = asked.warnings()
    unread = [(place, row) for place, row in enumerate(rows) if "error" in row]
    if to_csv is not None:
        _write_csv(to_csv, of, rows, min(top, len(student.classes)))
    if as_json:
        typer.echo(json.dumps({"student": student.name, "predictions": rows}, indent=2))
    elif to_csv is None:
        print_table([of, "class", "probability"], _table_rows(of, rows))
    else:
        for name, count in Counter(row["class"] for row in rows if "class" in row).most_common():
            typer.echo(f"{count:8,}  {name}")
        typer.echo(f"{to_csv}: {len(rows):,} {of}s, {len(rows) - len(unread):,} classified by {student.name}")
    for text in warnings:
        typer.echo(f"warning: {text}", err=True)
    for place, row in unread:
        typer.echo(f"{row['file'] if of == 'file' else f'text {place}'}: {row['error']}", err=True)
    if unread:
        typer.echo(f"{len(unread):,} of {len(rows):,} {of}s could not be read", err=True)
        raise typer.Exit(1)


def _texts(given: Sequence[str], column: str | None) -> "Iterator[Row]":
    """The texts that are given, or lie in tables that are named. Raises UserError for a file that is no table, and as `read_texts`."""
    from tuition.params import FILE, Columns, load
    from tuition.sources.readers import READERS, open_table
    from tuition.sources.texts import Row, Unusable, read_texts, text_of

    columns = Columns(text=column) if column else load().data.columns if FILE.is_file() else Columns()
    for one in given:
        path = Path(one) if len(one) < LONGEST_NAME else None
        if path is not None and path.suffix.lower().removeprefix(".") in READERS:
            yield from read_texts(open_table(path, one), columns)
            continue
        if path is not None and path.exists() and one != STDIN:
            raise UserError(f"{one}: a file or folder, expected a text or a table of them: {', '.join(READERS)}")
        try:
            yield Row(text_of({"": sys.stdin.read() if one == STDIN else one}, None))
        except Unusable as error:
            yield Row("", str(error))


def _files(paths: Sequence[str], leave: Path | None) -> list[Path | bytes]:
    """The files that are named or lie below folders, without `leave`; bytes for stdin.

    Raises UserError for a path where nothing is, and where there is no file at all.
    """
    from tuition.sources.folder import files_below
    from tuition.workspace import given, lacking

    found: list[Path | bytes] = []
    for path in paths:
        if path == STDIN:
            found.append(sys.stdin.buffer.read())
            continue
        place = given(path)
        if missing := lacking(place):
            raise UserError(f"{path}: {missing}")
        below = files_below(place) if place.is_dir() else [place]
        if not below:
            raise UserError(f"{path}: no files below it")
        found += [one for one in below if leave is None or one.resolve() != leave.resolve()]
    return found


def _writer(model: str | None, weights: Path | None) -> "Writes | None":
    """The student, where it is one that writes texts."""
    from tuition.params import FILE, load
    from tuition.registry.writer import is_writer
    from tuition.registry.written import registered_writer, writer_of_folder

    if weights is not None:
        return writer_of_folder(weights) if is_writer(weights) else None
    if model is None and FILE.is_file() and load().data.task != "generate":  # as the champion of this study
        return None
    return registered_writer(model or f"models:/{load().registry.name}@champion")


def _print_texts(writes: "Writes", prompts: Sequence[str], as_json: bool) -> None:
    texts = writes(prompts)
    if as_json:
        rows = [{"prompt": prompt, "text": text} for prompt, text in zip(prompts, texts, strict=True)]
        typer.echo(json.dumps({"texts": rows}, indent=2))
        return
    for text in texts:
        typer.echo(text)


def _student(model: str | None, weights: Path | None) -> "Classifier":
    from tuition.params import load
    from tuition.registry.predict import registered_student, student_of_folder

    if weights is not None:
        return student_of_folder(weights)
    return registered_student(model or f"models:/{load().registry.name}@champion")


@contextmanager
def _asked(student: "Classifier", files: Sequence[Path | bytes]) -> "Iterator[Predictions]":
    """What the student says of the files, as they are gone through; a moving line on a terminal says how many are open."""
    from PIL import Image
    from rich.console import Console
    from rich.progress import Progress

    from tuition.registry.predict import Predictions
    from tuition.sources.folder import open_image

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("images", total=len(files))

        def open_one(index: int) -> Image.Image:
            shown.advance(task)
            file = files[index]
            return Image.open(io.BytesIO(file)) if isinstance(file, bytes) else open_image(file)

        names = [STDIN if isinstance(file, bytes) else str(file) for file in files]
        yield Predictions(student, names, open_one, "images")


def _row(one: "Prediction", of: str, classes: Sequence[str], top: int) -> dict[str, Any]:
    """The row of a file or a text, as JSON shows it."""
    if one.probabilities is None:
        return {of: one.file, "error": one.reason}
    order = one.probabilities.argsort()[::-1][:top]
    likeliest = [{"class": classes[place], "probability": float(one.probabilities[place])} for place in order]
    return {of: one.file, **likeliest[0], **({"top": likeliest} if top > 1 else {})}


def _write_csv(path: Path, of: str, rows: Sequence[dict[str, Any]], top: int) -> None:
    """file or text, class, probability, reason; with more than one class a file also class_2, probability_2, …"""
    from tuition.files import atomic

    more = [f"{head}_{number}" for number in range(2, top + 1) for head in ("class", "probability")]
    with atomic(path) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", errors=UNSPEAKABLE, newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([of, "class", "probability", "reason", *more])
        for row in rows:
            first = [row["class"], f"{row['probability']:.6g}"] if "class" in row else ["", ""]
            others = [cell for one in row.get("top", [])[1:] for cell in (one["class"], f"{one['probability']:.6g}")]
            writer.writerow([row[of], *first, row.get("error", ""), *(others or [""] * len(more))])
        text.detach()


def _table_rows(of: str, rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The lines of what could be read, one a class, the likeliest first."""
    lines = []
    for row in rows:
        for place, one in enumerate(row.get("top", [row] if "class" in row else [])):
            name = row[of] if of == "file" or len(row[of]) <= SHOWN else f"{row[of][:SHOWN]} …"
            lines.append(["" if place else name, one["class"], f"{one['probability']:.4f}"])
    return lines
