"""Own architectures: sizes as published, one interface, any channels and side, exportable."""

import subprocess
import sys
from importlib import import_module

import pytest
import torch

from tuition.errors import UserError
from tuition.inputs.images.preprocess import to_float
from tuition.models import ARCHS, FAMILIES, build, check_arch, signals


def parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_importing_the_package_costs_no_torch():
    code = "import sys, tuition.models as m; m.check_arch('x', 'timm:anything'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_names_are_those_that_the_families_build():
    for family, names in FAMILIES.items():
        assert tuple(import_module(f"tuition.models.{family}").SETTINGS) == names
    assert [name for names in FAMILIES.values() for name in names] == list(ARCHS)
    assert len(set(ARCHS)) == len(ARCHS)


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
        ("resnet50", 100, 23.71),
        ("mobilenetv2_half", 100, 0.81),
        ("shufflenetv1", 100, 0.95),
        ("shufflenetv2", 100, 1.36),
    ],
)
def test_sizes_are_the_published_ones(arch, classes, millions):
    model = build(arch, channels=3, classes=classes, size=(32, 32))
    assert parameters(model) / 1e6 == pytest.approx(millions, abs=0.0075)


@pytest.mark.parametrize(("arch", "blocks"), [("resnet8x2", 1), ("resnet14x2", 2), ("resnet20x2", 3)])
def test_sizes_of_networks_of_twice_the_width(arch, blocks):
    """Counted layer by layer: every convolution has a batch norm with two numbers a channel."""
    count, wide = 3 * 32 * 9 + 2 * 32, 32
    for width in (32, 64, 128):
        for block in range(blocks):
            entering = width if block else wide
            count += entering * width * 9 + width * width * 9 + 4 * width
            count += 0 if entering == width else entering * width + 2 * width
        wide = width
    assert parameters(build(arch, channels=3, classes=100, size=(32, 32))) == count + 128 * 100 + 100


def test_libraries_have_the_same_networks():
    """torchvision's shufflenet_v2_x1_0 and resnet50, but for their stems of 3×3 and 7×7 instead of 1×1 and 3×3."""
    theirs = build("torchvision:shufflenet_v2_x1_0", channels=3, classes=100, size=(32, 32))
    assert parameters(theirs) - parameters(build("shufflenetv2", channels=3, classes=100, size=(32, 32))) == 24 * 3 * 8
    ours = build("resnet50", channels=3, classes=100, size=(32, 32)).eval()
    theirs = build("torchvision:resnet50", channels=3, classes=100, size=(32, 32)).eval()
    state = {name: tensor for name, tensor in ours.state_dict().items() if not name.startswith("fc.")}
    theirs.net.conv1, theirs.net.maxpool = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False), torch.nn.Identity()
    theirs.net.load_state_dict(state)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(signals(ours, images)["embedding"], signals(theirs, images)["embedding"])


def test_shuffle_deals_the_channels_out():
    dealt = import_module("tuition.models.shufflenet").shuffle(torch.arange(6.0).reshape(1, 6, 1, 1), 3)
    assert dealt.flatten().tolist() == [0, 2, 4, 1, 3, 5]


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """In eval mode, with running statistics and weights that are not those of a fresh one."""
    torch.manual_seed(1)
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5) if tensor.ndim == 1 else tensor.data.normal_(0, 0.1)
    return module.eval()


@pytest.mark.parametrize(("entering", "stride"), [(24, 2), (116, 1)])
def test_shufflenetv2_units_are_torchvisions(entering, stride):
    from torchvision.models.shufflenetv2 import InvertedResidual

    unit = randomised(import_module("tuition.models.shufflenet").UnitV2(entering, 116, stride))
    theirs = InvertedResidual(entering, 116, stride).eval()
    names = {"left": "branch1", "right": "branch2"}
    state = {names[key.split(".")[0]] + key[key.index(".") :]: tensor for key, tensor in unit.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn(2, entering, 8, 8)
    torch.testing.assert_close(unit(x), theirs(x))


@pytest.mark.parametrize(("wide", "stride"), [(24, 2), (24, 1), (16, 1)])
def test_inverted_residuals_are_torchvisions_where_nothing_exceeds_six(wide, stride):
    from torchvision.models.mobilenetv2 import InvertedResidual

    unit = randomised(import_module("tuition.models.mobilenet").InvertedResidual(16, wide, 6, stride))
    theirs = InvertedResidual(16, wide, stride, expand_ratio=6).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), unit.state_dict().values(), strict=True)))
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(unit(x), theirs(x))


@pytest.mark.parametrize(("entering", "wide", "stride"), [(24, 240, 2), (240, 240, 1), (240, 480, 2)])
def test_shufflenetv1_units_follow_the_paper(entering, wide, stride):
    """Group by group, with one 1×1 convolution each; only the first unit of the network groups none of its first."""
    F = torch.nn.functional
    unit = randomised(import_module("tuition.models.shufflenet").UnitV1(entering, wide, stride))
    x = torch.randn(2, entering, 8, 8)
    out = wide - entering if stride == 2 else wide
    inside, groups = out // 4, 1 if entering == 24 else 3

    def grouped(x: torch.Tensor, weight: torch.Tensor, groups: int) -> torch.Tensor:
        pairs = zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True)
        return torch.cat([torch.einsum("bchw,oc->bohw", part, w[:, :, 0, 0]) for part, w in pairs], 1)

    hidden = unit.bn1(grouped(x, unit.conv1.weight, groups)).clamp(min=0)
    dealt = [hidden[:, part * (inside // groups) + k] for k in range(inside // groups) for part in range(groups)]
    hidden = F.conv2d(torch.stack(dealt, 1), unit.conv2.weight, stride=stride, padding=1, groups=inside)
    result = unit.bn3(grouped(unit.bn2(hidden).clamp(min=0), unit.conv3.weight, 3))
    beside = F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).mean((4, 5)) if stride == 2 else None
    expected = result + x if beside is None else torch.cat([result, beside], 1)
    torch.testing.assert_close(unit(x), expected.clamp(min=0), atol=1e-4, rtol=1e-4)


NEW = ("resnet50", "mobilenetv2_half", "shufflenetv1", "shufflenetv2", "resnet8x2")


@pytest.mark.parametrize("arch", NEW)
@pytest.mark.parametrize(("channels", "side"), [(1, 8), (1, 28), (3, 32), (3, 64)])
def test_sides_and_channels_of_the_small_networks(arch, channels, side):
    model = build(arch, channels=channels, classes=3, size=(side, side)).eval()
    logits = model(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 3)
    assert logits.isfinite().all()


@pytest.mark.parametrize("arch", NEW[1:])
def test_small_networks_learn_eight_images_by_heart(arch):
    torch.manual_seed(0)
    model = build(arch, channels=1, classes=4, size=(16, 16)).train()
    images, labels = torch.randn(8, 1, 16, 16), torch.arange(8) % 4
    lr = 0.01 if arch.startswith("shuffle") else 0.02  # the benchmark's rate for them
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    assert all(p.grad is not None for p in model.parameters())


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


@pytest.mark.parametrize(
    "arch", ["resnet8", "wrn_16_1", "vgg8", "resnet50", "mobilenetv2_half", "shufflenetv1", "shufflenetv2"]
)
def test_channels_last_and_bf16(arch):
    model = build(arch, channels=3, classes=5, size=(32, 32)).to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images)
    logits.float().sum().backward()
    assert logits.dtype == torch.bfloat16
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("arch", ["resnet8", "vgg8", "mobilenetv2_half", "shufflenetv1", "shufflenetv2"])
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
