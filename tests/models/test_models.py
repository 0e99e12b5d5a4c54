"""Own architectures: sizes as published, one interface, any channels and side, exportable."""

import subprocess
import sys

import pytest
import torch

from stages.errors import UserError
from stages.models import ARCHS, RESNETS, VGGS, WRNS, build, check_arch, resnet, signals, vgg, wrn
from stages.models.preprocess import to_float


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_importing_the_package_costs_no_torch():
    code = "import sys, stages.models as m; m.check_arch('x', 'timm:anything'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_names_are_those_that_the_families_build():
    assert (*resnet.SETTINGS, *wrn.SETTINGS, *vgg.SETTINGS) == ARCHS == (*RESNETS, *WRNS, *VGGS)


@pytest.mark.parametrize(
    ("arch", "classes", "millions"),
    [
        ("resnet20", 10, 0.27),  # He et al. 2016, table 6; the projections add 0.003
        ("resnet32", 10, 0.46),
        ("resnet44", 10, 0.66),
        ("resnet56", 10, 0.85),
        ("resnet110", 10, 1.73),
        ("resnet8x4", 100, 1.23),  # CRD benchmark, Tian et al. 2020
        ("resnet32x4", 100, 7.43),
        ("wrn_16_1", 100, 0.18),
        ("wrn_16_2", 100, 0.70),
        ("wrn_40_1", 100, 0.57),
        ("wrn_40_2", 100, 2.26),
        ("vgg8", 100, 3.97),
        ("vgg13", 100, 9.46),
    ],
)
def test_sizes_are_the_published_ones(arch, classes, millions):
    model = build(arch, channels=3, classes=classes, size=(32, 32))
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=0.0075)


@pytest.mark.parametrize("arch", [a for a in ARCHS if a != "resnet110"])
def test_every_architecture_speaks_the_interface(arch):
    model = build(arch, channels=1, classes=7, size=(28, 30)).eval()
    images = torch.randn(2, 1, 28, 30)
    features = model.forward_features(images)
    embedding = model.forward_head(features, pre_logits=True)
    classifier = model.get_classifier()
    assert features.ndim == 4
    assert isinstance(classifier, torch.nn.Linear)
    assert embedding.shape == (2, classifier.in_features)
    said = signals(model, images)
    torch.testing.assert_close(said["embedding"], embedding)
    torch.testing.assert_close(said["logits"], model(images))
    torch.testing.assert_close(model.forward_head(features), model(images))
    assert model.arch == arch


@pytest.mark.parametrize("arch", ["resnet8", "wrn_16_1", "vgg8"])
@pytest.mark.parametrize("side", [32, 40, 64, 96])
def test_larger_images_work(arch, side):
    assert build(arch, channels=4, classes=3, size=(side, side)).eval()(torch.randn(1, 4, side, side)).shape == (1, 3)


@pytest.mark.parametrize("arch", ["resnet8", "wrn_16_1", "vgg8"])
def test_channels_last_and_bf16(arch):
    model = build(arch, channels=3, classes=5, size=(32, 32)).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images)
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("arch", ["resnet8", "vgg8"])
def test_exports_with_any_batch_size(arch):
    model = build(arch, channels=1, classes=10, size=(28, 28)).eval()
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (torch.randn(2, 1, 28, 28),), dynamic_shapes=({0: batch},))
    for n in (1, 7, 100):
        images = torch.randn(n, 1, 28, 28)
        torch.testing.assert_close(program.module()(images), model(images), atol=1e-4, rtol=1e-4)


def test_the_same_seed_makes_the_same_network():
    def weights() -> list[torch.Tensor]:
        torch.manual_seed(3)
        return list(build("resnet8", channels=1, classes=10, size=(28, 28)).state_dict().values())

    assert all(torch.equal(a, b) for a, b in zip(weights(), weights(), strict=True))


@pytest.mark.parametrize("name", ["resnet9", "timm:", "hub:resnet18", ""])
def test_unknown_names_are_answered_with_the_valid_ones(name):
    with pytest.raises(UserError, match=r"student.arch: .*resnet110.*wrn_40_2.*timm:<model>, torchvision:<model>"):
        check_arch("params.yaml: student.arch", name)


def test_names_of_libraries_are_left_to_build():
    check_arch("x", "timm:resnet18")
    check_arch("x", "torchvision:resnet18")


def test_images_too_small_are_refused():
    with pytest.raises(UserError, match="vgg8: images are 4x4"):
        build("vgg8", channels=1, classes=2, size=(4, 4))


def test_to_float_scales_resizes_and_normalises():
    images = torch.randint(0, 256, (3, 2, 30, 20), dtype=torch.uint8)
    plain = to_float(images, [0.5, 0.25], [2.0, 4.0])
    mean, std = (torch.tensor(values).view(2, 1, 1) for values in ([0.5, 0.25], [2.0, 4.0]))
    expected = (images.double() / 255 - mean) / std
    torch.testing.assert_close(plain, expected.float())
    resized = to_float(images, torch.zeros(1), torch.ones(1), resize=16)
    assert resized.shape == (3, 2, 16, 16)
    assert resized.dtype == torch.float32
    assert resized.min() >= 0
    assert resized.max() <= 1
    flat = torch.full((1, 1, 8, 8), 51, dtype=torch.uint8)
    torch.testing.assert_close(to_float(flat, [0.0], [1.0], resize=24), torch.full((1, 1, 24, 24), 0.2))


def test_to_float_wants_one_mean_per_channel():
    with pytest.raises(UserError, match="mean: found 3 values for images of 1 channels"):
        to_float(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), [0.5] * 3, [1.0])
