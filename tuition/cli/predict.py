"""`tuition predict`: image files and folders, classified by a student."""

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

STDIN = "-"


@explained
def predict(
    paths: Annotated[list[str], typer.Argument(help="Image files, folders of them, or - for one image on stdin.")],
    model: Annotated[
        str | None, typer.Option(help="models:/<name>@champion or models:/<name>/<version>; by default the champion.")
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A student's folder, such as students/400-kd-0.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many classes a file, the likeliest first.")] = 1,
    to_csv: Annotated[Path | None, typer.Option("--csv", help="Write the table to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Classify images of any size; exit status 1 where some could not be read.

    Example: `tuition predict photos/ cat.jpg --top 3`
    """
    if model and weights:
        raise UserError("found --model and --weights; give one of them")
    files = _files(paths, to_csv)
    student = _student(model, weights)
    with _asked(student, files) as asked:
        rows = [_row(one, student.classes, top) for one in asked]
    unread = [row for row in rows if "error" in row]
    if to_csv is not None:
        _write_csv(to_csv, rows, min(top, len(student.classes)))
    if as_json:
        typer.echo(json.dumps({"student": student.name, "predictions": rows}, indent=2))
    elif to_csv is None:
        print_table(["file", "class", "probability"], _table_rows(rows))
    else:
        for name, count in Counter(row["class"] for row in rows if "class" in row).most_common():
            typer.echo(f"{count:8,}  {name}")
        typer.echo(f"{to_csv}: {len(rows):,} files, {len(rows) - len(unread):,} classified by {student.name}")
    for text in asked.warnings():
        typer.echo(f"warning: {text}", err=True)
    for row in unread:
        typer.echo(f"{row['file']}: {row['error']}", err=True)
    if unread:
        typer.echo(f"{len(unread):,} of {len(rows):,} files could not be read", err=True)
        raise typer.Exit(1)


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


def _row(one: "Prediction", classes: Sequence[str], top: int) -> dict[str, Any]:
    """A file's row, as JSON shows it."""
    if one.probabilities is None:
        return {"file": one.file, "error": one.reason}
    order = one.probabilities.argsort()[::-1][:top]
    likeliest = [{"class": classes[place], "probability": float(one.probabilities[place])} for place in order]
    return {"file": one.file, **likeliest[0], **({"top": likeliest} if top > 1 else {})}


def _write_csv(path: Path, rows: Sequence[dict[str, Any]], top: int) -> None:
    """file, class, probability, reason; with more than one class a file also class_2, probability_2, …"""
    from tuition.files import atomic

    more = [f"{head}_{number}" for number in range(2, top + 1) for head in ("class", "probability")]
    with atomic(path) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", errors=UNSPEAKABLE, newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["file", "class", "probability", "reason", *more])
        for row in rows:
            first = [row["class"], f"{row['probability']:.6g}"] if "class" in row else ["", ""]
            others = [cell for one in row.get("top", [])[1:] for cell in (one["class"], f"{one['probability']:.6g}")]
            writer.writerow([row["file"], *first, row.get("error", ""), *(others or [""] * len(more))])
        text.detach()


def _table_rows(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The lines of files that could be read, one a class, the likeliest first."""
    lines = []
    for row in rows:
        for place, one in enumerate(row.get("top", [row] if "class" in row else [])):
            lines.append(["" if place else row["file"], one["class"], f"{one['probability']:.4f}"])
    return lines
