"""The inbox: images, in class folders or loose, in a folder, or below `s3://bucket/prefix` and whatever else fsspec opens. It is only read.

Knows nothing of pools and ledgers.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tuition.errors import Unreachable, UserError
from tuition.inputs.images import files as pixels
from tuition.sources.folder import NOT_MEANT, files_below, open_image
from tuition.workspace import given, lacking

THREADS = 8  # Pillow decodes outside Python's lock
Entry = tuple[str, str | None, str]  # path below the inbox, class folder (None: it lies in none), path for fsspec


class Inbox:
    """`place` opened. Raises UserError where it is not there or may not be read; a prefix without objects is empty."""

    def __init__(self, place: str):
        self.place, self.depths = place, pixels.Depths()
        try:
            import fsspec

            self.files, root = fsspec.core.url_to_fs(place if "://" in place else str(given(place)))
        except (ImportError, ValueError) as error:
            ask = "; `uv sync --extra s3` installs what S3 needs" if place.startswith("s3:") else ""
            raise UserError(f"refresh.inbox: {place}: {error}{ask}") from None
        self.root = root.rstrip("/")
        self.local = "://" not in place or place.startswith(("file:", "local:"))
        if self.local and not self.files.isdir(self.root):  # elsewhere there is nothing to find in an empty prefix
            what = lacking(Path(self.root), "folder") or "not a folder"
            raise UserError(f"refresh.inbox: {place}: {what}; expected images in it. Nothing was taken")

    def entries(self) -> list[Entry]:
        """Every file that does not begin with a dot, nor lies in a folder that does, sorted by path; links to folders are followed."""
        found = []
        with _explained(self.place):
            self.files.invalidate_cache()
            if self.local:
                self.files.ls(self.root, detail=False)  # says why it may not be read
            paths = [str(file) for file in files_below(Path(self.root))] if self.local else self.files.find(self.root)
        for path in paths:
            name = path[len(self.root) :].lstrip("/")
            parts = name.split("/")
            if not name or path.endswith("/") or parts[-1].lower() in NOT_MEANT:
                continue
            if any(part.startswith(".") or part == "__MACOSX" for part in parts):
                continue
            found.append((name, parts[0] if len(parts) > 1 else None, path))
        return sorted(found)

    def originals(self, entries: list[Entry], asked: int | None, channels: int) -> Iterator[np.ndarray | str]:
        """For each entry in order its image, uint8 (C, H, W) at its own size, or why it is none.

        Channels become those `asked` for (data.channels), or at most the pool's `channels`. `depths` is told the values of images of 16
        bits.
        """

        def decode(image: Image.Image) -> np.ndarray:
            found = pixels.decode(image, asked, None, self.depths)
            return pixels.convert(found[None], channels, None, self.place)[0] if len(found) > channels else found

        return self._decoded(entries, decode)

    def images(self, entries: list[Entry], shape: tuple[int, int, int]) -> Iterator[np.ndarray | str]:
        """As `originals`, but of `shape` (C, H, W): what is of another size is resized where `shape` is square, as `data.resize` does."""
        channels, height, width = shape
        side = height if height == width else None
        for found in self._decoded(entries, lambda image: pixels.decode(image, channels, side, self.depths)):
            if isinstance(found, str) or found.shape == shape:
                yield found
            else:
                yield f"{found.shape[2]}x{found.shape[1]} pixels, where the pool has {width}x{height}"

    def _decoded(self, entries: list[Entry], decode: Callable[[Image.Image], np.ndarray]) -> Iterator[np.ndarray | str]:
        def attempt(index: int) -> np.ndarray | str:
            try:
                with self._open(entries[index][2]) as image:
                    return decode(image)
            except Exception as error:  # damaged files make decoders fail in every way; the reason is kept
                if _lost(error):
                    raise
                return pixels.reason(error)

        with _explained(self.place):
            yield from pixels.in_order(attempt, len(entries), THREADS)

    def _open(self, path: str) -> Image.Image:
        return open_image(Path(path)) if self.local else Image.open(io.BytesIO(self.files.cat_file(path)))


class _explained:
    """Errors of a store in the user's words; one that may pass is Unreachable, so that a flow tries again."""

    def __init__(self, place: str):
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, UserError) or not isinstance(error, Exception):
            return
        said = f"refresh.inbox: {self.place}: {(str(error).splitlines() or [type(error).__name__])[0]}"
        if isinstance(error, PermissionError | FileNotFoundError | NotADirectoryError) or "redential" in str(error):
            raise UserError(f"{said}. Nothing was taken") from error
        if _lost(error):
            raise Unreachable(f"{said}. Nothing was taken") from error


def _lost(error: Exception) -> bool:
    """Whether the store, not the file, is at fault."""
    module = type(error).__module__.split(".")[0]
    return module in ("botocore", "aiobotocore", "aiohttp") or isinstance(error, ConnectionError | TimeoutError)
