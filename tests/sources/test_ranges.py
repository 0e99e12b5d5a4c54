"""Pixels that use a small part of their range, such as 12 bits in a file of 16, become dark: this is told."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuition.files import read_json
from tuition.inputs.images.tuition_images import Depths, decode
from tuition.params import Data
from tuition.sources.splits import summary
from tuition.sources.splits import write_splits as prepare


def fill(root: Path, highest: int, count: int = 10) -> str:
    """Two classes of 16-bit images with values from 7 to `highest`."""
    for number in range(2 * count):
        values = np.random.default_rng(number).integers(7, highest + 1, (9, 9)).astype(np.uint16)
        values[0, :2] = 7, highest
        file = root / ("cat" if number < count else "dog") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(file)
    return f"folder:{root}"


def test_twelve_bits_in_sixteen_are_told_with_their_range(tmp_path):
    meta = prepare(Data(source=fill(tmp_path / "pets", 4095)), tmp_path / "data")
    told = r"20 of 20 images of 16 bits hold values from 7 to 4095 (12 bits)"
    assert told in meta["warnings"][0]
    assert told in read_json(tmp_path / "data/meta.json")["warnings"][0]
    assert f"warning: folder:{tmp_path / 'pets'}: {told}" in summary(meta)


def test_the_whole_range_is_told_of_nobody(tmp_path):
    meta = prepare(Data(source=fill(tmp_path / "pets", 65535)), tmp_path / "data")
    assert "warnings" not in meta
    assert "warning" not in summary(meta)


def test_one_bright_image_does_not_hide_the_others(tmp_path):
    source = fill(tmp_path / "pets", 4095)
    Image.fromarray(np.full((9, 9), 65535, np.uint16)).save(tmp_path / "pets/cat/bright.png")
    assert "20 of 21 images" in prepare(Data(source=source), tmp_path / "data")["warnings"][0]


@pytest.mark.parametrize("alpha", [False, True])
def test_colour_of_sixteen_bits_is_told_too(tmp_path, alpha):
    wide = np.full((4, 4, 4 if alpha else 3), 4095, ">u2")
    wide[..., 3:] = 65535
    write_png(tmp_path / "a.png", wide)
    depths = Depths()
    with Image.open(tmp_path / "a.png") as image:
        assert decode(image, None, None, depths).max() == 15
    assert "1 of 1 images of 16 bits hold values from 3840 to 4095 (12 bits)" in depths.warnings()[0]


def write_png(path: Path, pixels: np.ndarray) -> None:
    """A PNG of 16 bits a channel, which Pillow does not write."""
    import struct
    import zlib

    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 6 if channels == 4 else 2, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))


def test_bytes_of_which_none_is_bright_are_told(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"{split}_images": rng.integers(0, 2, (40, 9, 9), dtype=np.uint8) for split in ("train", "test")}
    arrays |= {f"{split}_labels": np.arange(40) % 2 for split in ("train", "test")}
    np.savez(tmp_path / "x.npz", **arrays)
    meta = prepare(Data(source=f"npz:{tmp_path / 'x.npz'}"), tmp_path / "data")
    assert "no pixel is brighter than 1, where 255 is white" in meta["warnings"][0]
