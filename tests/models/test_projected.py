"""A student behind a projector and its teacher's classifier: what it computes, what trains, and that it keeps."""

import json

import pytest
import torch
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.models import build, load_student, signals
from tuition.models.projected import Projected, projector, wrap
from tuition.registry.model import export_graph
from tuition.training.student import write_student

WIDTH, CLASSES = 24, 5
SIZE = {"channels": 1, "size": (28, 28)}


def made(arch: str = "resnet8", **settings) -> Projected:
    torch.manual_seed(0)
    inner = build(arch, classes=CLASSES, **{**SIZE, **settings})
    model = wrap(inner, width=WIDTH, channels=settings.get("channels", 1), size=settings.get("size", (28, 28)))
    model.set_classifier(torch.randn(CLASSES, WIDTH), torch.randn(CLASSES))
    with torch.no_grad():  # running means and variances that are not those of an untrained network
        model(torch.randn(16, settings.get("channels", 1), *settings.get("size", (28, 28))))
    return model.eval()


def test_it_is_student_projector_mean_and_classifier():
    model, images = made(), torch.randn(3, 1, 28, 28)
    assert model.training is False
    own = model.inner.forward_features(images)
    x = own
    for place, padding in ((0, 0), (3, 1), (6, 0)):  # convolution, batch norm, ReLU, three times
        convolution, norm = model.projector[place], model.projector[place + 1]
        x = F.conv2d(x, convolution.weight, padding=padding)
        x = (x - norm.running_mean.view(-1, 1, 1)) / (norm.running_var + norm.eps).sqrt().view(-1, 1, 1)
        x = (x * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1)).clamp(min=0)
    assert x.shape == (3, WIDTH, 7, 7)
    torch.testing.assert_close(model.forward_features(images), x)
    logits = x.mean((2, 3)) @ model.classifier.weight.T + model.classifier.bias
    torch.testing.assert_close(model(images), logits)
    said = signals(model, images, maps=True)
    torch.testing.assert_close(said["logits"], logits)
    torch.testing.assert_close(said["embedding"], x.mean((2, 3)))
    assert list(said) == ["logits", "embedding", "map1", "map2", "map3", "map4"]
    torch.testing.assert_close(said["map3"], own)
    torch.testing.assert_close(said["map4"], x)
    torch.testing.assert_close(model.last_stage_module()(said["map3"]), x)
    assert model.arch == "resnet8"


@pytest.mark.parametrize(("width", "inside"), [(64, 32), (5, 2), (1, 1)])
def test_the_projector_is_half_as_wide_inside(width, inside):
    shapes = [tuple(p.shape) for p in projector(16, width).parameters() if p.ndim == 4]
    assert shapes == [(inside, 16, 1, 1), (inside, inside, 3, 3), (width, inside, 1, 1)]


def test_student_and_projector_train_but_neither_classifier():
    model = made().train()
    frozen = {"classifier.weight", "classifier.bias", "inner.fc.weight", "inner.fc.bias"}
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == frozen
    F.cross_entropy(model(torch.randn(4, 1, 28, 28)), torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == (name in frozen)
    assert frozen < set(model.state_dict())


def test_a_classifier_of_another_width_is_refused():
    with pytest.raises(RuntimeError):
        made().set_classifier(torch.zeros(CLASSES, WIDTH + 1), torch.zeros(CLASSES))


@pytest.mark.parametrize(
    ("arch", "wide_in", "grid"),
    [
        ("timm:resnet10t", 512, (1, 1)),
        ("timm:mobilenetv3_small_050", 288, (1, 1)),  # its embedding has 1024, its last map fewer
        ("timm:vit_tiny_patch16_224", 192, (2, 2)),
        ("timm:swin_tiny_patch4_window7_224", 768, (1, 1)),
        ("torchvision:resnet18", 512, (1, 1)),
    ],
)
def test_students_of_libraries(arch, wide_in, grid):
    model = made(arch, channels=3, size=(32, 32))
    assert model.projector[0].in_channels == wide_in
    images = torch.randn(2, 3, 32, 32)
    assert model.forward_features(images).shape == (2, WIDTH, *grid)
    torch.testing.assert_close(signals(model, images)["logits"], model(images))


def kept(model: Projected, folder, **changes) -> dict:
    student = {"arch": model.arch, "channels": 1, "classes": CLASSES, "height": 28, "width": 28}
    student |= {"mean": [0.1], "std": [0.3], "class_names": list("abcde"), "projector": {"width": WIDTH}, **changes}
    write_student(folder, model.state_dict(), {}, [{"step": 1, "loss": 0.5}], student)
    return student


@pytest.mark.parametrize("arch", ["resnet8", "wrn_16_1", "vgg8", "shufflenetv2"])
def test_it_is_kept_and_loaded(tmp_path, arch):
    model, images = made(arch), torch.randn(3, 1, 28, 28)
    student = kept(model, tmp_path / "cell")
    again, description = load_student(tmp_path / "cell")
    assert description == student
    assert isinstance(again, Projected)
    assert not any(module.training for module in again.modules())
    assert torch.equal(again(images), model(images))
    assert {n for n, p in again.named_parameters() if not p.requires_grad} == {
        n for n, p in model.named_parameters() if not p.requires_grad
    }


@pytest.mark.parametrize("found", [24, {}, {"width": "24"}, {"width": 0}, {"width": True}])
def test_a_damaged_description_is_refused(tmp_path, found):
    kept(made(), tmp_path / "cell", projector=found)
    with pytest.raises(UserError, match=r"student\.json: projector: found .*expected \{\"width\": a number"):
        load_student(tmp_path / "cell")


def test_weights_of_another_width_are_refused(tmp_path):
    kept(made(), tmp_path / "cell", projector={"width": WIDTH + 2})
    with pytest.raises(UserError, match=r"do not fit resnet8: .*of another shape \(projector\.0\.weight"):
        load_student(tmp_path / "cell")


def test_a_description_without_projector_is_a_plain_student(tmp_path):
    model = made()
    student = kept(model, tmp_path / "cell", projector=None)
    with pytest.raises(UserError, match=r"do not fit resnet8: .*missing \(conv1\.weight"):
        load_student(tmp_path / "cell")
    assert json.loads((tmp_path / "cell" / "student.json").read_text()) == student


def test_it_is_served_for_any_batch_size(tmp_path):
    model = made()
    kept(model, tmp_path / "cell")
    export_graph(tmp_path / "cell", tmp_path / "student.pt2")
    served = torch.export.load(tmp_path / "student.pt2").module()
    for n in (1, 7, 60):
        images = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8)
        expected = torch.softmax(model((images.float() / 255 - 0.1) / 0.3), 1)
        torch.testing.assert_close(served(images), expected, atol=1e-5, rtol=1e-4)
