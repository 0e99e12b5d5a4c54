"""Models of timm and torchvision behind the same interface."""

import pytest
import torch

from tuition.errors import UserError
from tuition.models import build, load_weights, signals


@pytest.mark.parametrize(
    ("arch", "channels", "side"),
    [
        ("torchvision:resnet18", 1, 32),
        ("torchvision:mobilenet_v3_small", 4, 32),
        ("torchvision:vit_b_16", 1, 32),
        ("torchvision:densenet121", 3, 32),
        ("timm:resnet10t", 1, 32),
        ("timm:vit_tiny_patch16_224", 1, 32),
        ("timm:mobilenetv3_small_050", 3, 32),
    ],
)
def test_speaks_the_interface(arch, channels, side):
    model = build(arch, channels=channels, classes=7, size=(side, side)).eval()
    images = torch.randn(2, channels, side, side)
    said = signals(model, images)
    assert said["logits"].shape == (2, 7)
    assert said["embedding"].shape == (2, model.get_classifier().in_features)
    torch.testing.assert_close(said["logits"], model(images), atol=1e-4, rtol=1e-4)
    assert model.arch == arch


@pytest.mark.parametrize(("arch", "near"), [("timm:resnet18x", "resnet18"), ("torchvision:resnet8", "resnet18")])
def test_models_that_do_not_exist_are_answered_with_near_matches(arch, near):
    with pytest.raises(UserError, match=rf"{arch}: .* has no model .*Near matches: .*{near}"):
        build(arch, channels=3, classes=10, size=(32, 32))


def test_timm_is_asked_for_names_only():
    with pytest.raises(UserError, match="has no model 'hf-hub:some/model'"):
        build("timm:hf-hub:some/model", channels=3, classes=10, size=(32, 32))


def test_a_model_without_linear_classifier_is_refused():
    with pytest.raises(UserError, match="torchvision:squeezenet1_1: does not end in a linear classifier"):
        build("torchvision:squeezenet1_1", channels=3, classes=10, size=(64, 64))


@pytest.mark.parametrize("arch", ["torchvision:alexnet", "torchvision:vit_b_16", "timm:vit_tiny_patch16_224"])
def test_images_that_do_not_suit_the_model_are_refused(arch):
    with pytest.raises(UserError, match=rf"{arch}: does not work on images of 3x9x9 pixels .*resize"):
        build(arch, channels=3, classes=10, size=(9, 9))


def test_torchvisions_own_files_load(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    published = resnet18(weights=None, num_classes=5).eval()
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    model = build("torchvision:resnet18", channels=3, classes=5, size=(32, 32)).eval()
    load_weights(model, tmp_path / "resnet18.pth")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model(images), published(images))
    torch.save(model.state_dict(), tmp_path / "own.pt")
    again = build("torchvision:resnet18", channels=3, classes=5, size=(32, 32)).eval()
    load_weights(again, tmp_path / "own.pt")
    torch.testing.assert_close(again(images), model(images))
