"""Weight files: the forms that are read, and the ones that are refused without running anything in them."""

import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from tuition.errors import UserError
from tuition.models import build, load_student, load_weights


def make(arch: str = "resnet8", classes: int = 10, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build(arch, channels=1, classes=classes, size=(28, 28))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.pth", "a.bin"])
def test_every_suffix_is_read(tmp_path, name):
    source, target = make(seed=1), make(seed=2)
    save = save_file if name.endswith("safetensors") else torch.save
    save(source.state_dict(), tmp_path / name)
    assert not same(source, target)
    load_weights(target, tmp_path / name)
    assert same(source, target)


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_wrapped_and_prefixed_weights_are_read(tmp_path, key):
    source, target = make(seed=1), make(seed=2)
    state = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    torch.save({key: state, "epoch": 3}, tmp_path / "a.pt")
    load_weights(target, tmp_path / "a.pt")
    assert same(source, target)


@pytest.mark.parametrize(
    "prefix", ["model.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model._orig_mod."]
)
def test_what_wrappers_put_before_names_is_taken_off(tmp_path, prefix):
    source, target = make(seed=1), make(seed=2)
    save_file({f"{prefix}{name}": tensor for name, tensor in source.state_dict().items()}, tmp_path / "a.safetensors")
    load_weights(target, tmp_path / "a.safetensors")
    assert same(source, target)


def test_wrappers_as_torch_makes_them(tmp_path):
    source = make(seed=1)
    part = make(seed=1)
    part.layer1 = torch.compile(part.layer1)
    for wrapped in (torch.compile(source), torch.optim.swa_utils.AveragedModel(source), part):
        target = make(seed=2)
        torch.save({"model_state_dict": wrapped.state_dict(), "epoch": 3}, tmp_path / "a.pt")
        load_weights(target, tmp_path / "a.pt")
        assert same(source, target)


def test_weights_that_are_there_twice(tmp_path):
    state = make().state_dict()
    torch.save(state | {f"_orig_mod.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt: holds the same weights twice"):
        load_weights(make(), tmp_path / "a.pt")


STAND_INS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "a Git LFS pointer .* `git lfs pull`",
    b"\xef\xbb\xbf\n<!DOCTYPE html><html><title>Sign in</title>": r"a web page \(HTML\)",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": r"a web page \(HTML\)",
    b"/annex/objects/SHA256E-s31390--f50d.pt\n": "a git-annex pointer",
    b"": "an empty file",
}


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("content", STAND_INS)
def test_what_stands_in_for_weights_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: not a readable file of weights: found {STAND_INS[content]}"):
        load_weights(make(), tmp_path / name)


@pytest.mark.parametrize("name", ["run", "a.pt", "a.safetensors"])
def test_a_folder_is_no_file_of_weights(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(
        UserError, match=rf"{name}: a folder, expected a file of weights; none of \.safetensors, .* lies in it"
    ):
        load_weights(make(), tmp_path / name)
    (tmp_path / name / "last.pt").touch()
    with pytest.raises(UserError, match=r"name one of those in it: last\.pt"):
        load_weights(make(), tmp_path / name)


def test_files_without_batch_counters_are_read(tmp_path):
    source, target = make(seed=1), make(seed=2)
    state = {k: v for k, v in source.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "a.safetensors")
    load_weights(target, tmp_path / "a.safetensors")
    assert same(source, target)


@pytest.mark.parametrize("name", ["gone.safetensors", "gone.pt"])
def test_missing_file(tmp_path, name):
    with pytest.raises(UserError, match=f"{name}: no such file"):
        load_weights(make(), tmp_path / name)


def test_unknown_suffix(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a.onnx: weights are read from \.safetensors"):
        load_weights(make(), tmp_path / "a.onnx")


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_truncated_file(tmp_path, name, share):
    path = tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)(make().state_dict(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=f"{name}: not a readable"):
        load_weights(make(), path)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_garbage(tmp_path, name):
    (tmp_path / name).write_bytes(os.urandom(5000))
    with pytest.raises(UserError, match=f"{name}: not a readable|{name}: refused"):
        load_weights(make(), tmp_path / name)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("bare", [True, False])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, bare):
    proof, path = tmp_path / "executed", tmp_path / "a.pt"
    content = {**make().state_dict(), "extra": Malicious(proof)}
    if bare:
        path.write_bytes(pickle.dumps(content["extra"], protocol=2))
    else:
        torch.save(content, path)
    with pytest.raises(UserError, match=r"a\.pt: refused, since it holds code") as caught:
        load_weights(make(), path)
    assert "weights_only=False" not in str(caught.value)
    assert not proof.exists()
    if bare:
        pickle.loads(path.read_bytes())  # noqa: S301 - the payload is real
        assert proof.exists()


def test_another_architecture(tmp_path):
    torch.save(make("resnet14").state_dict(), tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"do not fit resnet8: \d+ unexpected \(layer1\.1\.conv1\.weight, .*…\)"):
        load_weights(make(), tmp_path / "a.pt")
    torch.save(make("vgg8").state_dict(), tmp_path / "b.pt")
    with pytest.raises(UserError, match=r"do not fit resnet8: \d+ missing \(conv1\.weight.*unexpected \(block0"):
        load_weights(make(), tmp_path / "b.pt")


def test_another_number_of_classes(tmp_path):
    torch.save(make(classes=100).state_dict(), tmp_path / "a.pt")
    shape = r"fc\.weight: \(100, 64\) instead of \(10, 64\)"
    with pytest.raises(UserError, match=rf"do not fit resnet8: 2 of another shape \({shape}"):
        load_weights(make(), tmp_path / "a.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(tmp_path, value):
    source = make()
    source.get_classifier().weight.data[1, 2] = value
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"not finite .* in fc\.weight"):
        load_weights(make(), tmp_path / "a.safetensors")


@pytest.mark.parametrize("content", [[1, 2], {}, {"epoch": 3}, {"model": {"a": "b"}}])
def test_files_that_hold_no_weights(tmp_path, content):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a\.pt: .*expected .*tensors"):
        load_weights(make(), tmp_path / "a.pt")


def test_load_student(tmp_path):
    source = make("wrn_16_1", classes=3)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    student = {"arch": "wrn_16_1", "channels": 1, "classes": 3, "height": 28, "width": 28, "class_names": list("abc")}
    (tmp_path / "student.json").write_text(json.dumps(student))
    model, description = load_student(tmp_path)
    assert description == student
    assert not model.training
    assert same(source, model)


def test_load_student_without_its_files(tmp_path):
    with pytest.raises(UserError, match=r"student\.json: no such file"):
        load_student(tmp_path)
    (tmp_path / "student.json").write_text('{"arch": "resnet8"}')
    with pytest.raises(UserError, match=r"student\.json: lacks channels, classes, height, width"):
        load_student(tmp_path)
