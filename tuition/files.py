"""The files that pass between stages: `.npy` and `.json`, each written whole or not at all."""

import codecs
import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tuition.errors import UserError

# what file systems without hard links say of one
NO_LINKS = (
    errno.EPERM,
    errno.EACCES,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EINVAL,
    errno.EXDEV,
)
PATIENCE = 10.0  # seconds for another process to rename a file


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; on success fsync it and rename it over `path`, on failure remove it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # some file systems have no modes
            os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def place_new(made: Path, path: Path) -> None:
    """Move the whole file `made` to `path` beside it, unless something is there already, be it from another process just now.

    `made` may stay, for its maker to remove. Raises OSError where neither can be had.
    """
    try:
        os.link(made, path)
        return
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
    # A rename would replace what is there: who makes this mark alone may look and rename.
    mark = path.with_name(f".{path.name}.placing")
    until = time.monotonic() + PATIENCE
    while not path.exists():
        try:
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            if time.monotonic() > until:
                raise FileExistsError(errno.EEXIST, "left by a process that was killed; remove it", str(mark)) from None
            time.sleep(0.05)
            continue
        try:
            if not path.exists():
                os.rename(made, path)
        finally:
            mark.unlink()


def write_array(path: Path, array: np.ndarray) -> None:
    """Write one array as `.npy` (no pickle)."""
    with atomic(path) as file:
        np.save(file, array, allow_pickle=False)


def write_rows(path: Path, shape: tuple[int, ...], kind: type[np.generic], blocks: Iterable[np.ndarray]) -> None:
    """Write an array that is made block by block, each some rows of it, as `.npy`: only one block is in memory at a time.

    Raises ValueError where the blocks are not `shape` together.
    """
    rows = 0
    with atomic(path) as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(kind)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            if block.shape[1:] != shape[1:]:
                raise ValueError(f"{path}: a block {block.shape} of {shape}")
            rows += len(block)
            file.write(np.ascontiguousarray(block, dtype=kind).data)
        if rows != shape[0]:
            raise ValueError(f"{path}: {rows} rows of {shape}")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON with sorted keys, so that the same content has the same bytes."""
    with atomic(path) as file:
        file.write((json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def read_text(path: Path) -> str:
    """A text file of the user's: UTF-8, with a byte order mark or without. Raises UserError for another encoding, OSError as `open`."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"the byte 0x{content[error.start]:02x} in line {content.count(10, 0, error.start) + 1}"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        found = "UTF-16"
    raise UserError(f"{path}: not UTF-8: found {found}; save it as UTF-8") from None


def read_array(path: Path) -> np.ndarray:
    """Read a `.npy` file memory-mapped and read-only. Raises UserError when it is missing or damaged."""
    return _read(path, lambda: np.load(path, mmap_mode="r", allow_pickle=False))


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError when it is missing or damaged."""
    return _read(path, lambda: json.loads(path.read_text(encoding="utf-8")))


def _read(path: Path, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; `dvc repro` makes it") from None
    except (ValueError, EOFError, OSError) as error:
        raise UserError(f"{path}: cannot be read ({error}); delete it and run `dvc repro`") from None


def stand_in(path: Path) -> str | None:
    """What lies at `path` in the place of a file of data, and how to get that: a pointer to it, a page about it, nothing; else None."""
    with path.open("rb") as file:
        start = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "an empty file; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the file itself; `git lfs pull` fetches that"
    if start.startswith((b"/annex/objects/", b"../.git/annex", b".git/annex")):
        return "a git-annex pointer and not the file itself; `git annex get` fetches that"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "a web page (HTML) and not the file itself; download it again from the address of the file, signed in where that is needed"
    return None


def file_digest(path: Path) -> str | None:
    """The sha256 (hex) of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def digest(*arrays: np.ndarray) -> str:
    """The sha256 (hex) over the types, shapes and bytes of arrays; of texts, the objects of an array, over their lengths and bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype.str}{array.shape}".encode())
        if array.dtype == object:
            for text in array.ravel():
                content = text.encode()
                total.update(f"{len(content)}:".encode() + content)
            continue
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()
