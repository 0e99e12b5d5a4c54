"""Stage maps and taps: which tensors they are, for every kind of model, and what is said where there are none."""

import copy

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.models import ARCHS, MAPS_VERSION, build, signals

QUICK = [arch for arch in ARCHS if arch != "resnet110"]


def made(arch: str, side: int = 32, channels: int = 3, **settings) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(arch, channels=channels, classes=5, size=(side, side), **settings).eval()


def shapes(model: torch.nn.Module, side: int, channels: int = 3) -> list[tuple[int, ...]]:
    said = signals(model, torch.randn(2, channels, side, side), maps=True)
    names = [name for name in said if name.startswith("map")]
    assert list(said) == ["logits", "embedding", *names]
    assert names == [f"map{place}" for place in range(1, len(names) + 1)]
    return [tuple(said[name].shape[1:]) for name in names]


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        ("resnet8", [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("resnet8x2", [(32, 32, 32), (64, 16, 16), (128, 8, 8)]),
        ("resnet50", [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]),
        ("wrn_16_2", [(32, 32, 32), (64, 16, 16), (128, 8, 8)]),
        ("vgg8", [(128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 4, 4)]),
        ("mobilenetv2_half", [(12, 16, 16), (16, 8, 8), (48, 4, 4), (160, 2, 2)]),
        ("shufflenetv1", [(240, 16, 16), (480, 8, 8), (960, 4, 4)]),
        ("shufflenetv2", [(116, 16, 16), (232, 8, 8), (464, 4, 4)]),
    ],
)
def test_stages_have_the_sizes_of_the_papers(arch, expected):
    assert shapes(made(arch), 32) == expected


@pytest.mark.parametrize("arch", QUICK)
def test_the_last_feature_map_is_the_last_map_but_where_the_benchmark_has_another(arch):
    model, images = made(arch, 28, 1), torch.randn(2, 1, 28, 28)
    said, plain = signals(model, images, maps=True, inside=["features"]), signals(model, images)
    last = said.pop("features")
    torch.testing.assert_close(last, model.forward_features(images))
    torch.testing.assert_close(last.mean((2, 3)), said["embedding"])
    same = last.shape == said[list(said)[-1]].shape and torch.equal(last, said[list(said)[-1]])
    assert same == (arch not in MAPS_VERSION)
    for name in plain:
        torch.testing.assert_close(said[name], plain[name])


@pytest.mark.parametrize(("arch", "side"), [*((arch, 28) for arch in QUICK), ("vgg8", 64), ("resnet8", 64)])
def test_the_last_stage_as_a_module(arch, side):
    model, images = made(arch, side, 1), torch.randn(2, 1, side, side)
    names = list(model.state_dict())
    _, stages, _, last = model.forward_maps(images)
    copied = copy.deepcopy(model.last_stage_module())
    torch.testing.assert_close(copied(stages[-2]), last)
    assert list(model.state_dict()) == names
    assert {id(p) for p in model.last_stage_module().parameters()} <= {id(p) for p in model.parameters()}
    for parameter in copied.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(model.forward_features(images), last)


def test_which_maps_are_activated():
    images = torch.randn(4, 3, 32, 32)
    for arch in ("resnet8x2", "resnet50", "vgg8", "shufflenetv1", "shufflenetv2"):
        assert all((stage >= 0).all() for stage in made(arch).forward_maps(images).stages)
    for arch in ("wrn_16_1", "mobilenetv2_half"):
        maps = made(arch).forward_maps(images)
        assert all((stage < 0).any() for stage in maps.stages)
        assert (maps.last >= 0).all()


def test_maps_before_their_activation():
    """A ReLU of them is the map; in a wide residual network they are the map after the next batch norm, in MobileNetV2 the map."""
    images = torch.randn(4, 3, 32, 32)
    for arch in ("resnet8x2", "resnet50", "vgg8", "vgg13", "shufflenetv1", "shufflenetv2"):
        maps = made(arch).forward_maps(images)
        assert all((before < 0).any() for before in maps.preact)
        torch.testing.assert_close([F.relu(before) for before in maps.preact], maps.stages)
    model = made("wrn_16_1")
    for norm in (model.block2.layer[0].bn1, model.block3.layer[0].bn1, model.bn1):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    maps = model.forward_maps(images)
    for norm, stage, before in zip(
        (model.block2.layer[0].bn1, model.block3.layer[0].bn1, model.bn1), maps.stages, maps.preact, strict=True
    ):
        torch.testing.assert_close(before, norm(stage))
        assert ((stage > 0) != (before > 0)).any()
    torch.testing.assert_close(maps.last, F.relu(maps.preact[-1]))
    torch.testing.assert_close(maps.stages[-1], model.block3(model.block2(model.block1(model.conv1(images)))))
    maps = made("mobilenetv2_half").forward_maps(images)
    torch.testing.assert_close(maps.preact, maps.stages)


@pytest.mark.parametrize(("arch", "expected"), [("resnet8", 16), ("wrn_16_2", 16), ("vgg8", 64), ("shufflenetv2", 24)])
def test_the_stem_is_what_the_first_stage_sees(arch, expected):
    model, images = made(arch), torch.randn(2, 3, 32, 32)
    stem = signals(model, images, maps=True, inside=["stem"])["stem"]
    assert stem.shape == (2, expected, 32, 32)
    conv = model.conv1 if arch == "wrn_16_2" else None
    if conv is not None:
        torch.testing.assert_close(stem, conv(images))
    assert "stem" not in signals(made("resnet8", taps=["layer1"]), images, maps=True, inside=["stem"])


@pytest.mark.parametrize("arch", ["shufflenetv1", "shufflenetv2"])
def test_shufflenets_begin_as_pytorch_makes_them(arch):
    """Every convolution's weights are uniform within 1/√(fan in), as the benchmark leaves them."""
    for module in made(arch).modules():
        if isinstance(module, torch.nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            assert 0.8 * bound < module.weight.abs().max() <= bound


def test_taps_of_an_own_model_replace_its_stages():
    model, images = made("resnet8", taps=("layer1.0.bn2", "layer3")), torch.randn(2, 3, 32, 32)
    assert model.taps == ("layer1.0.bn2", "layer3")
    said = signals(model, images, maps=True)
    assert list(said) == ["logits", "embedding", "map1", "map2"]
    x = F.relu(model.bn1(model.conv1(images)))
    block = model.layer1[0]
    torch.testing.assert_close(said["map1"], block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))
    torch.testing.assert_close(said["map2"], model.forward_features(images))
    assert made("resnet8").taps == ()


def test_a_tap_is_unharmed_by_layers_that_work_in_place():
    model, images = made("torchvision:vgg11_bn", taps=["features.0", "features.1"]), torch.randn(2, 3, 32, 32)
    said = signals(model, images, maps=True)
    convolved = model.net.features[0](images)
    torch.testing.assert_close(said["map1"], convolved)
    torch.testing.assert_close(said["map2"], model.net.features[1](convolved))
    assert (said["map2"] < 0).any()


def test_hooks_exist_only_while_maps_are_asked_for():
    model, images = made("timm:resnet10t"), torch.randn(2, 3, 32, 32)

    def hooks() -> int:
        return sum(len(module._forward_hooks) for module in model.modules())

    during = []
    handle = model.layer2.register_forward_pre_hook(lambda module, inputs: during.append(hooks()))
    signals(model, images)
    signals(model, images, maps=True)
    handle.remove()
    assert during == [0, len(model.taps)]
    with pytest.raises(RuntimeError):
        signals(model, torch.randn(2, 7, 32, 32), maps=True)
    assert hooks() == 0


def test_a_compiled_student_with_taps_is_compiled_once_and_gives_the_same_maps():
    model, images = made("resnet8", taps=["layer1.0.bn2", "layer3"]).train(), torch.randn(4, 3, 32, 32)
    counters.clear()
    compiled = torch.compile(signals, backend="eager")
    for batch in (images, images + 1, images):
        said = compiled(model, batch, maps=True)
    assert counters["stats"]["unique_graphs"] == 1
    torch.testing.assert_close(said, signals(model, images, maps=True), rtol=0, atol=0)


def test_gradients_reach_the_layers_below_a_tap():
    model = made("timm:resnet10t").train()
    signals(model, torch.randn(2, 3, 32, 32), maps=True)["map2"].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.conv1.parameters())
    assert all(p.grad is None for p in model.layer2.parameters())


@pytest.mark.parametrize(
    ("arch", "side", "taps", "expected"),
    [
        ("timm:resnet10t", 32, None, [(64, 16, 16), (64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]),
        ("timm:vit_tiny_patch16_224", 48, None, [(192, 3, 3)] * 12),
        ("timm:vit_small_patch14_reg4_dinov2", 28, ["blocks.3"], [(384, 2, 2)]),  # 5 tokens before the patches
        ("timm:swin_tiny_patch4_window7_224", 64, None, [(96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)]),
        ("timm:swin_tiny_patch4_window7_224", 64, ["patch_embed.proj"], [(96, 16, 16)]),
        ("torchvision:resnet18", 32, ["layer1", "layer4"], [(64, 8, 8), (512, 1, 1)]),
        ("torchvision:vit_b_16", 32, ["encoder.layers.encoder_layer_0"], [(768, 2, 2)]),
        ("torchvision:swin_t", 64, ["features.1", "features.3"], [(96, 16, 16), (192, 8, 8)]),
    ],
)
def test_taps_of_libraries(arch, side, taps, expected):
    model = made(arch, side, **({} if taps is None else {"taps": taps}))
    assert shapes(model, side) == expected
    if taps is not None:
        assert model.taps == tuple(taps)


def test_tokens_keep_their_places():
    model, images = made("timm:vit_tiny_patch16_224", 48, taps=["norm"]), torch.randn(2, 3, 48, 48)
    tokens = model.forward_features(images)  # the class token, then the patches, row by row
    grid = signals(model, images, maps=True)["map1"]
    for row in range(3):
        for column in range(3):
            torch.testing.assert_close(grid[:, :, row, column], tokens[:, 1 + 3 * row + column])


def test_maps_of_channels_last_transformers_keep_their_channels():
    model, images = made("timm:swin_tiny_patch4_window7_224", 64, taps=["layers.3"]), torch.randn(1, 3, 64, 64)
    tapped = signals(model, images, maps=True)["map1"]
    torch.testing.assert_close(model.norm(tapped.permute(0, 2, 3, 1)), model.forward_features(images))


def test_a_model_without_maps_says_what_to_set():
    model = made("torchvision:resnet18")
    assert model.taps == ()
    with pytest.raises(UserError, match=r"torchvision:resnet18: .*`student\.taps` or `teacher\.taps`"):
        signals(model, torch.randn(1, 3, 32, 32), maps=True)


@pytest.mark.parametrize(
    ("arch", "taps", "said"),
    [
        (
            "resnet8",
            ["layer9"],
            r"resnet8 has no module 'layer9'\. Near matches: .*layer\d.* Among its modules: .*conv1",
        ),
        ("resnet8", [""], "resnet8 has no module ''"),
        ("torchvision:resnet18", ["net.layer4"], r"no module 'net\.layer4'\. Near matches: .*layer4"),
        ("timm:resnet10t", ["layer1", "layer1"], "layer1, layer1: a module stands there twice"),
        ("resnet8", ["fc"], "resnet8: tap 'fc' gives nothing"),
        ("torchvision:resnet18", ["layer1", "layer1.0.downsample.0"], "has no module 'layer1.0.downsample.0'"),
        ("torchvision:mobilenet_v3_small", ["classifier.0"], r"tap 'classifier\.0' gives values of shape 1024 for an"),
        ("torchvision:vit_b_16", ["encoder.layers.encoder_layer_0.self_attention"], "gives a tuple for an image"),
    ],
)
def test_taps_that_are_no_maps_are_refused(arch, taps, said):
    with pytest.raises(UserError, match=said):
        made(arch, taps=taps)


def test_three_axes_that_are_no_grid_are_refused():
    """A mixer's layers over the places have the 512 channels where tokens would be."""
    with pytest.raises(
        UserError, match=r"tap 'blocks\.0\.mlp_tokens' gives values of shape 512x4 for an image of 32x32"
    ):
        made("timm:mixer_s16_224", taps=["blocks.1", "blocks.0.mlp_tokens"])
