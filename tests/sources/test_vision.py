"""torchvision's sets, read from real files in the format in which they are published."""

import struct

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.params import Data
from tuition.sources.splits import write_splits as prepare
from tuition.sources.vision import DATASETS, load_torchvision


def write_idx(path, array: np.ndarray) -> None:
    """The idx format of MNIST: a magic number that counts the axes, the shape, the bytes."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def test_mnist_from_its_files(tmp_path, digits):
    digits = digits.parts["train"]
    rows = {"train": np.arange(0, 5000, 10), "t10k": np.arange(5, 5000, 50)}
    folder = tmp_path / "root/MNIST/raw"
    folder.mkdir(parents=True)
    for name, chosen in rows.items():
        write_idx(folder / f"{name}-images-idx3-ubyte", digits.images[chosen, 0])
        write_idx(folder / f"{name}-labels-idx1-ubyte", digits.labels[chosen])
    meta = prepare(Data(source="torchvision:MNIST", root=str(tmp_path / "root")), tmp_path / "data")
    assert meta["splits"] == {"train": 450, "val": 50, "test": 100}
    assert meta["classes"][:2] == ["0 - zero", "1 - one"]
    test = np.load(tmp_path / "data/test/images.npy")
    assert np.array_equal(test, digits.images[rows["t10k"]])
    assert np.array_equal(np.load(tmp_path / "data/test/labels.npy"), digits.labels[rows["t10k"]])


def test_without_network_the_error_says_where_files_belong(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    with pytest.raises(UserError, match=rf"torchvision:CIFAR10: cannot be downloaded .*{tmp_path}.*data\.root"):
        load_torchvision("CIFAR10", Data(root=str(tmp_path)))


def test_unknown_sets_are_answered_with_the_valid_ones():
    with pytest.raises(UserError, match=r"'CIFAR' is not known. Did you mean 'CIFAR10'.*CIFAR100.*SVHN"):
        load_torchvision("CIFAR", Data())


def test_every_listed_set_is_one_of_torchvisions():
    import torchvision

    assert set(DATASETS) <= set(torchvision.datasets.__all__)
