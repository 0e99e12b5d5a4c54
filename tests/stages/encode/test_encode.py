"""The stage `encode` on real digits: every source but a fetched one, in the order of data/, and what is refused."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import write_params

from stages.encode.__main__ import main
from tuition import features
from tuition.errors import UserError
from tuition.models import build
from tuition.origins import SPLITS, read_origins
from tuition.training.student import write_student
from tuition.workspace import Workspace


@pytest.fixture
def workspace(prepared, tmp_path, monkeypatch):
    (tmp_path / "data").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def encode(folder, **settings):
    write_params(folder, {f"encode.{key}": value for key, value in settings.items()}, check=False)
    main([])
    return {split: features.read(split, len(images(split))) for split in SPLITS} if settings else {}


def images(split):
    return np.load(Workspace().split(split).images, mmap_mode="r")


def test_without_a_source_one_small_file_says_so(workspace):
    encode(workspace)
    assert [path.name for path in (workspace / "features").iterdir()] == ["meta.json"]
    assert features.about() == {"source": "none", "dimensions": 0, "rows": {}, "sha256": None}
    with pytest.raises(UserError, match=r"encode\.source: found 'none', but features/train\.npy is to be read"):
        features.read("train", 5)


def test_pixels_are_principal_components_of_the_training_samples(workspace):
    found = encode(workspace, source="pixels", batch_size=1000)
    flat = {split: images(split).reshape(len(images(split)), -1).astype(np.float64) for split in SPLITS}
    centred = {split: flat[split] - flat["train"].mean(axis=0) for split in SPLITS}
    kept = {split: (found[split].astype(np.float64) ** 2).sum() / (centred[split] ** 2).sum() for split in SPLITS}
    assert kept["train"] * centred["train"].var(axis=0).mean() == pytest.approx(
        1, abs=0.02
    )  # of 784 numbers 256 hold nearly all
    covariance = np.cov(found["train"].T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3 * covariance.max()
    assert (np.diff(np.diag(covariance)) <= 1e-6).all()
    one, other = 3, 70  # of two splits: the map is one for all
    away = np.linalg.norm(centred["val"][one] - centred["test"][other]) / np.sqrt(centred["train"].var(axis=0).mean())
    assert np.linalg.norm(found["val"][one] - found["test"][other]) == pytest.approx(away, rel=0.05)
    rows = {split: len(images(split)) for split in SPLITS}
    assert features.about() == {"source": "pixels", "dimensions": 256, "rows": rows, "sha256": None}


def test_a_network_of_timm_with_weights_in_a_file(workspace):
    torch.manual_seed(0)
    model = build("timm:resnet10t", channels=3, classes=7, size=(32, 32)).eval()
    save_file(model.state_dict(), workspace / "mine.safetensors")
    found = encode(workspace, source="timm:resnet10t", weights="mine.safetensors", size=32, batch_size=100)
    assert found["train"].shape == (len(images("train")), 512)
    pixels = torch.from_numpy(images("val")[150:152].astype(np.float32) / 255).expand(-1, 3, -1, -1)
    seen = torch.nn.functional.interpolate(pixels, (32, 32), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(model.pretrained_cfg[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features((seen - mean) / std), pre_logits=True)
    assert np.allclose(found["val"][150:152], wanted, atol=1e-4)
    assert features.about()["sha256"] == hashlib.sha256((workspace / "mine.safetensors").read_bytes()).hexdigest()


def test_the_embedding_of_the_teachers_checkpoint(workspace):
    facts = json.loads((workspace / "data/meta.json").read_text()) | json.loads(
        (workspace / "data/train/meta.json").read_text()
    )
    torch.manual_seed(0)
    model = build("resnet8", channels=1, classes=10, size=(28, 28)).eval()
    write_student(
        Workspace().teacher.path, model.state_dict(), {"mean": facts["mean"], "std": facts["std"]}, [{"step": 1}]
    )
    write_params(workspace, {"teacher.arch": "resnet8", "encode.source": "checkpoint"}, check=False)
    main([])
    found = features.read("test", len(images("test")))
    mean, std = facts["mean"][0], facts["std"][0]
    pixels = torch.from_numpy((images("test")[:2].astype(np.float32) / 255 - mean) / std)
    with torch.no_grad():
        assert np.allclose(found[:2], model.forward_head(model.forward_features(pixels), pre_logits=True), atol=1e-4)


def test_a_file_of_the_sources_rows_finds_its_samples(workspace):
    given = np.arange(5000, dtype=np.float32)[:, None] * [1, 2]
    np.save(workspace / "all.npy", given)
    np.savez(workspace / "all.npz", mnist5k=given)
    for name in ("all.npy", "all.npz"):
        found = encode(workspace, source=f"file:{name}")
        for split in SPLITS:
            rows = [row for _, (_, row) in read_origins(Workspace().split(split).files)]
            assert np.array_equal(found[split], given[rows])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (None, r"encode\.source: file:f\.npy: no such file or folder; valid: a \.npy file"),
        (np.zeros((4000, 2)), r"has 4000 rows, but sample \d+ of data/train came from mnist5k, row 4\d\d\d"),
        (np.zeros(5000), r"found float64 \(5000,\); valid"),
        (np.full((5000, 2), np.nan), r"sample 0 of data/train has NaN or infinity"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(array, message, workspace):
    if array is not None:
        np.save(workspace / "f.npy", array)
    with pytest.raises(UserError, match=message):
        encode(workspace, source="file:f.npy")
    assert not Workspace().encoded.meta.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "pixel"}, r"encode\.source: found 'pixel'; valid: none, pixels"),
        ({"source": "timm:resnet10t"}, r"encode\.weights: found null; encode\.source 'timm:resnet10t' needs a file"),
        ({"source": "pixels", "size": 32}, r"encode\.size: found 32; only timm"),
        ({"source": "timm:resnet10t", "weights": "none.safetensors"}, r"none\.safetensors: no such file"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message, workspace):
    with pytest.raises(UserError, match=message):
        encode(workspace, **settings)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 2), np.float32), "4 rows, but data/val has 5 samples"),
        (np.zeros((5, 2)), r"found float64 \(5, 2\), expected float32"),
        (np.array([[0, 1], [0, np.inf]] + [[0, 0]] * 3, np.float32), "row 1 holds NaN or infinity"),
    ],
)
def test_features_that_do_not_fit_are_not_read(array, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features").mkdir()
    np.save(Workspace().features("val"), array)
    with pytest.raises(UserError, match=message):
        features.read("val", 5)
