"""A registered model on a folder of images: `python -m tuition.registry.score FOLDER --model models:/<name>@champion --out FILE`.

A row a file, in the order of their paths: the class and its probability, or the reason why the file could not be read.
"""

import argparse
import csv
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tuition.errors import UNSPEAKABLE, UserError, run
from tuition.files import atomic
from tuition.inputs.images import files as images
from tuition.registry.registry import parse_model, resolve_version
from tuition.sources.folder import THREADS, files_below, open_image
from tuition.tracking.store import connect_store
from tuition.workspace import given, lacking

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

BATCH = 1000  # images that are held and asked at a time


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
    model, shape, classes = load_model(options.model)
    depths = images.Depths()
    columns = ["file", "class", "probability", "reason"]
    columns += [f"p_{name}" for name in classes] if options.probabilities else []
    counts: dict[str, int] = {}
    rejected = 0
    with atomic(options.out) as out:
        text = io.TextIOWrapper(out, encoding="utf-8", errors=UNSPEAKABLE, newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        for row in prediction_rows(options.folder, files, model, shape, classes, options.probabilities, depths):
            writer.writerow(row)
            rejected += row[1] == ""
            counts[row[1]] = counts.get(row[1], 0) + 1
        text.detach()
    counts.pop("", None)
    for name, count in sorted(counts.items(), key=lambda item: -item[1]):
        print(f"{count:8,}  {name}")
    for warning in depths.warnings():
        print(f"warning: {options.folder}: {warning}")
    print(f"{options.out}: {len(files):,} files, {len(files) - rejected:,} classified, {rejected:,} could not be read")


def load_model(uri: str) -> tuple["PyFuncModel", tuple[int, int, int], list[str]]:
    """The model, the shape (C, H, W) of the images that it takes, and its classes.

    Raises UserError where there is none, and where it does not say what it takes.
    """
    name, which = parse_model(uri)
    store = connect_store(name, create=False)
    version = resolve_version(store, name, which)
    import mlflow

    mlflow.set_tracking_uri(store.uri)
    model = mlflow.pyfunc.load_model(f"models:/{name}/{version.version}")
    try:
        ((_, channels, height, width),) = (one.shape for one in model.metadata.signature.inputs.inputs)
        classes = [str(one) for one in model.metadata.metadata["classes"]]
    except (AttributeError, TypeError, ValueError, KeyError):
        raise UserError(f"{uri}: it does not say which images it takes and what its classes are called") from None
    return model, (channels, height, width), classes


def prediction_rows(
    root: Path,
    files: list[Path],
    model: "PyFuncModel",
    shape: tuple[int, int, int],
    classes: list[str],
    probabilities: bool,
    depths: images.Depths | None = None,
) -> Iterator[list[str]]:
    """The cells of each file's row, in order; images are read as `prepare` reads those of a folder, at the model's size."""
    channels, height, width = shape
    for start in range(0, len(files), BATCH):
        some = files[start : start + BATCH]
        names = [file.relative_to(root).as_posix() for file in some]
        pixels, kept, rejected, _ = images.read(
            names, partial(_open, some), channels, (width, height), str(root), THREADS, depths
        )
        reasons = dict(rejected)
        predicted = np.asarray(model.predict(pixels)) if len(kept) else np.zeros((0, len(classes)))
        answers = {names[place]: row for place, row in zip(kept, predicted, strict=True)}
        for name in names:
            if name in answers:
                best = int(answers[name].argmax())
                more = [f"{p:.6g}" for p in answers[name]] if probabilities else []
                yield [name, classes[best], f"{answers[name][best]:.6g}", "", *more]
            else:
                yield [name, "", "", reasons[name], *([""] * len(classes) if probabilities else [])]


def _open(files: list[Path], index: int) -> Image.Image:
    return open_image(files[index])


if __name__ == "__main__":
    run(main)
