"""`python -m stages.prepare transfer`: the second data set, in the shape that students take."""

import json
from pathlib import Path

import numpy as np
import pytest

from stages.transfer.__main__ import main, prepare_transfer
from tuition.errors import UserError
from tuition.files import read_array, read_json, write_json
from tuition.inputs.images.files import content_id
from tuition.params import Data, Transfer


def shape(folder: Path, channels: int, height: int, width: int) -> Path:
    write_json(folder / "meta.json", {"channels": channels, "height": height, "width": width})
    return folder


@pytest.fixture
def colours(tmp_path) -> Path:
    """An archive of colour images, 12 wide and 10 high."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 10, 12, 3), dtype=np.uint8)
    np.savez(
        tmp_path / "colours.npz",
        train_images=images[:40],
        train_labels=np.arange(40) % 4,
        test_images=images[40:],
        test_labels=np.arange(20) % 4,
    )
    return tmp_path / "colours.npz"


def test_null_is_a_file_that_says_so(tmp_path):
    assert prepare_transfer(Transfer(), Data(), tmp_path / "absent", tmp_path / "transfer") == {"source": None}
    assert [f.name for f in (tmp_path / "transfer").iterdir()] == ["meta.json"]
    assert read_json(tmp_path / "transfer/meta.json") == {"source": None}


def test_images_get_the_size_and_channels_of_data(tmp_path, colours):
    settings, data = Transfer(source=f"npz:{colours}"), shape(tmp_path / "data", 1, 16, 16)
    meta = prepare_transfer(settings, Data(val=0.25, noise=0.5, imbalance=2.0), data, tmp_path / "transfer")
    assert (meta["channels"], meta["height"], meta["width"]) == (1, 16, 16)
    assert meta["splits"] == {"train": 30, "val": 10, "test": 20}  # data.val; neither noise nor imbalance
    assert "altered" not in meta
    images, ids = (read_array(tmp_path / f"transfer/train/{name}.npy") for name in ("images", "stored_ids"))
    assert (images.shape, images.dtype) == ((30, 1, 16, 16), np.uint8)
    assert ids[3].decode() == content_id(images[3])


def test_images_that_are_not_square_must_fit(tmp_path, colours):
    settings = Transfer(source=f"npz:{colours}")
    meta = prepare_transfer(settings, Data(), shape(tmp_path / "fits", 3, 10, 12), tmp_path / "transfer")
    assert (meta["channels"], meta["height"], meta["width"]) == (3, 10, 12)
    with pytest.raises(UserError, match=r"images are \(3, 10, 12\), those of `data` \(3, 10, 14\)"):
        prepare_transfer(settings, Data(), shape(tmp_path / "other", 3, 10, 14), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"resize": 32},
            r"transfer\.resize: found 32, but students are trained on images of 28x28 pixels; valid: 28 or null",
        ),
        ({"channels": 3}, r"transfer\.channels: found 3, but students are trained on 1 channels; valid: 1 or null"),
        ({"source": "mnist"}, r"transfer\.source: 'mnist' is not known\. Did you mean 'mnist5k'"),
        ({"source": "npz:/gone.npz"}, r"transfer\.source: npz:/gone\.npz: no such file"),
    ],
)
def test_what_students_cannot_take_is_refused(tmp_path, asked, message):
    with pytest.raises(UserError, match=message):
        prepare_transfer(
            Transfer(**{"source": "mnist5k", **asked}), Data(), shape(tmp_path, 1, 28, 28), tmp_path / "out"
        )
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rest = (
        "study: {budgets: [4], methods: [ce], seeds: [0]}\npretrain: {steps: 1}\ntrain: {steps: 1}\nmethods: {ce: {}}\n"
    )
    Path("params.yaml").write_text(rest)
    main([])
    assert capsys.readouterr().out == "transfer.source is null: students are tested on data alone\n"
    Path("params.yaml").write_text(rest + "transfer: {source: mnist5k, resize: 20}\n")
    shape(Path("data"), 3, 20, 20)
    main([])
    assert capsys.readouterr().out.startswith("mnist5k: 3600 train, 400 val, 1000 test; 10 classes, 3x20x20")
    assert json.loads(Path("transfer/meta.json").read_text())["source"] == "mnist5k"
    with pytest.raises(UserError, match=r"stages\.transfer: found '4', expected no arguments"):
        main(["4"])
