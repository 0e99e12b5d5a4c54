"""What a local teacher says beside its logits: each signal against its definition, how it is stored, and what it costs to ask later."""

import io

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support import PAID, bill, stage, write_params
from torch import nn

from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger
from tuition.models import build, signals
from tuition.models.maps import flow
from tuition.params.teacher import CheckpointSettings
from tuition.purchase.answers import split
from tuition.signals import FAMILIES, ROUNDING, arrays_of, families, stored_type
from tuition.teachers.checkpoint import load_checkpoint
from tuition.teachers.derived import boundary, from_maps, pack, pruned_copy

RNG = np.random.default_rng(0)
STEM = torch.tensor(RNG.normal(size=(3, 2, 6, 6)))
BEFORE = [torch.tensor(RNG.normal(size=shape)) for shape in ((3, 4, 6, 6), (3, 12, 3, 3))]
MAPS = [one.relu() for one in BEFORE]


def test_signals_of_maps_against_numpy():
    given = {name: value.numpy() for name, value in from_maps(STEM, MAPS, BEFORE, set(FAMILIES)).items()}
    for place, stage_map in enumerate((one.numpy().astype(np.float32) for one in MAPS), start=1):
        np.testing.assert_allclose(given[f"map{place}"], stage_map)
        np.testing.assert_allclose(given[f"pooled{place}"], stage_map.mean((2, 3)), rtol=1e-5)
        energy = (stage_map**2).mean(1)
        energy /= np.sqrt((energy**2).sum((1, 2), keepdims=True))
        np.testing.assert_allclose(given[f"energy{place}"], energy, rtol=1e-5)
        np.testing.assert_array_equal(given[f"sign{place}"], np.packbits(stage_map > 0, axis=1))
        np.testing.assert_allclose(given[f"preact{place}"], BEFORE[place - 1].numpy().astype(np.float32))
    expected = np.einsum("bcyx,bdyx->bcd", STEM.numpy(), MAPS[0].numpy()) / 36
    np.testing.assert_allclose(given["flow1"], expected, rtol=1e-4, atol=1e-6)
    small = MAPS[0].numpy().reshape(3, 4, 3, 2, 3, 2).mean((3, 5))  # 6×6 average-pooled to 3×3
    expected = np.einsum("bcyx,bdyx->bcd", small, MAPS[1].numpy()) / 9
    np.testing.assert_allclose(given["flow2"], expected, rtol=1e-4, atol=1e-6)
    assert "flow3" not in given
    assert set(from_maps(None, MAPS, BEFORE, {"flow"})) == {"flow1"}  # no stem is known


def test_flow_and_bits_by_hand():
    one, other = torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]]), torch.tensor([[[[3.0, 1.0]]]])
    assert flow(one, other).tolist() == [[[2.5], [0.5]]]  # (1·3 + 2·1) / 2, (0·3 + 1·1) / 2
    on = torch.tensor([True, False, True, False, False, False, False, True, True]).view(1, 9, 1, 1)
    assert pack(on).flatten().tolist() == [0b10100001, 0b10000000]


def test_a_tenth_of_each_layers_weights_is_pruned_and_the_teacher_stays_as_it_is():
    model = build("resnet8", channels=1, classes=10, size=(28, 28)).eval().to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = pruned_copy(model)
    for (name, module), other in zip(model.named_modules(), twin.modules(), strict=True):
        if isinstance(module, nn.Conv2d | nn.Linear):
            gone = other.weight == 0
            assert gone.sum() == round(0.1 * module.weight.numel()), name
            assert module.weight[gone].abs().max() <= module.weight[~gone].abs().min()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not twin.training


def test_boundary_images_are_nearer_the_boundary():
    """A linear teacher of two pixels: logits (x0 − x1, x1 − x0). The boundary is x0 = x1."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    images = torch.tensor([[[[200, 40]]], [[[90, 100]]], [[[7, 250]]]], dtype=torch.uint8)
    found = boundary(model, images, torch.tensor([0.0]), torch.tensor([1 / 255]), None)
    moved = found["supporting"].float().flatten(1)
    gaps = (moved[:, 0] - moved[:, 1]).abs()
    assert (gaps < 0.1 * torch.tensor([160.0, 10.0, 243.0]) + 1.5).all()
    assert moved.sum(1).tolist() == pytest.approx([240, 190, 257], abs=1)  # moved along the gap's slope (1, −1) alone
    np.testing.assert_allclose(found["supporting_logits"], model(moved.view(3, 1, 1, 2)).detach(), atol=1e-3)
    assert found["supporting"].dtype == torch.uint8


def test_boundary_images_are_those_of_steps_in_normalised_values():
    """A linear teacher of three classes and two channels of unlike spread, step by step in float64."""
    mean, std = np.array([0.5, 0.2]), np.array([0.25, 0.5])
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    images = RNG.integers(40, 216, size=(6, 2, 2, 2)).astype(np.uint8)
    found = boundary(model, torch.tensor(images), torch.tensor(mean).float(), torch.tensor(std).float(), None)
    weight, bias = (value.detach().double().numpy() for value in (model[1].weight, model[1].bias))
    expected = []
    for image in images.astype(float):
        x = ((image / 255 - mean[:, None, None]) / std[:, None, None]).ravel()
        first, second = np.argsort(-(weight @ x + bias))[:2]
        for _ in range(10):
            gap = (weight[first] - weight[second]) @ x + bias[first] - bias[second]
            if gap < 0:
                break
            slope = weight[first] - weight[second]
            x = x - 0.3 * (gap + 0.05) * slope / np.linalg.norm(slope)
            x = x.reshape(2, 4)  # pixels stay between 0 and 255
            x = np.clip(x, (0 - mean[:, None]) / std[:, None], (1 - mean[:, None]) / std[:, None]).ravel()
        expected.append(255 * (x.reshape(2, 2, 2) * std[:, None, None] + mean[:, None, None]))
    assert np.abs(np.array(expected) - images).max() > 3
    np.testing.assert_allclose(found["supporting"].numpy(), expected, atol=0.51)


def test_families_and_the_arrays_that_they_stand_for():
    present = ["logits", "map1", "map10", "map2", "supporting", "supporting_logits", "mine"]
    assert arrays_of("map", present) == ["map1", "map2", "map10"]
    assert arrays_of("boundary", present) == ["supporting", "supporting_logits"]
    assert arrays_of("boundary", ["supporting"]) == arrays_of("energy", present) == []
    assert families(present) == ["logits", "map", "boundary", "mine"]


def test_halves_are_rounded_as_stated_and_what_does_not_fit_is_kept_in_full():
    values = RNG.normal(size=(50, 64)) * 10.0 ** RNG.integers(-3, 4, size=(50, 64))
    given = {"logits": RNG.normal(size=(50, 10)), "embedding": values}
    stored = split(given, 50, ("logits", "embedding"), 10, {})
    halves = np.stack([answer.signals["embedding"] for answer in stored])
    assert halves.dtype == np.float16
    big = np.abs(values) > 6.2e-5
    assert (np.abs(halves - values)[big] <= ROUNDING * np.abs(values)[big]).all()
    assert (np.abs(halves - values)[~big] <= 3.1e-8).all()
    assert stored[0].signals["logits"].dtype == np.float32
    assert stored_type("sign3") == stored_type("supporting") == np.uint8
    given["embedding"][7, 3] = 70_000  # beyond a half: kept in full, since it is paid for
    kept = split(given, 50, ("logits", "embedding"), 10, {})
    assert (kept[7].signals["embedding"].dtype, kept[6].signals["embedding"].dtype) == (np.float32, np.float16)
    assert kept[7].signals["embedding"][3] == 70_000
    given["embedding"][8, 1] = np.nan
    lost = split(given, 50, ("logits", "embedding"), 10, {})[8]
    assert lost.malformed == "NaN or infinity in embedding"
    with np.load(io.BytesIO(lost.raw)) as raw:  # as it came
        assert raw["embedding"].dtype == np.float64
        assert np.array_equal(raw["logits"], given["logits"][8])


@pytest.mark.parametrize(("arch", "version"), [("resnet8", None), ("wrn_16_1", 2), ("shufflenetv1", None)])
def test_a_checkpoint_whose_maps_changed_their_meaning_is_another_teacher(arch, version, tmp_path):
    """So that what was bought of the older maps is not mixed with the new; taps are named, and mean what they meant."""
    model = build(arch, channels=1, classes=10, size=(28, 28))
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    facts = {"channels": 1, "height": 28, "width": 28, "classes": list("abcdefghij"), "mean": [0.1], "std": [0.3]}
    settings = CheckpointSettings(arch=arch, weights=str(tmp_path / "weights.safetensors"), signals=["logits"])
    assert load_checkpoint(settings, facts).description.get("maps") == version
    taps = ["stage1"] if arch == "shufflenetv1" else ["conv1"]
    assert "maps" not in load_checkpoint(settings.model_copy(update={"taps": taps}), facts).description


@pytest.fixture
def local(workspace):
    """A workspace with a teacher of its own, trained for a moment."""
    assert stage("pretrain", cwd=workspace).returncode == 0
    return workspace


def test_every_signal_is_bought_exported_and_right(local):
    write_params(local, {"teacher.signals": list(FAMILIES)})
    ran = stage("teach", 40, cwd=local)
    assert ran.returncode == 0, ran.stderr
    meta = read_json(local / "outputs/40/meta.json")
    assert set(families(meta["signals"])) == set(FAMILIES) - {"classifier", "tops"}  # tokens are of teachers that write
    assert meta["constants"] == ["classifier_bias", "classifier_weight"]
    assert meta["stored"]["types"]["map1"] == "float16"
    assert meta["stored"]["relative_error"] == ROUNDING

    from safetensors.torch import load_file

    made = read_json(local / "teacher/meta.json")
    model = build("resnet8", channels=1, classes=10, size=(28, 28))
    model.load_state_dict(load_file(local / "teacher/weights.safetensors"))
    images = np.array(read_array(local / "data/train/images.npy"))[read_array(local / "outputs/40/positions.npy")]
    with torch.no_grad():
        x = (torch.from_numpy(images).float() / 255 - made["mean"][0]) / made["std"][0]
        said = signals(model.eval(), x, maps=True, inside=["preact", "features"])
    for name, value in said.items():
        found = read_array(local / f"outputs/40/{name}.npy")
        np.testing.assert_allclose(found, value.numpy(), rtol=2e-3, atol=2e-3 if name != "logits" else 1e-4)
    head = read_array(local / "outputs/40/classifier_weight.npy"), read_array(local / "outputs/40/classifier_bias.npy")
    embedding = read_array(local / "outputs/40/embedding.npy").astype(np.float32)
    np.testing.assert_allclose(embedding @ head[0].T + head[1], said["logits"], atol=2e-2)
    pruned = read_array(local / "outputs/40/pruned.npy")
    assert 0 < np.abs(pruned - said["logits"].numpy()).max() < 5


def test_further_signals_of_a_local_teacher_are_one_more_call_each_and_only_once(local):
    assert stage("teach", 40, cwd=local).returncode == 0
    before = (local / "outputs/40/logits.npy").read_bytes()
    write_params(local, {"teacher.signals": ["logits", "embedding", "energy", "sign"], "study.budgets": [40, 60]})
    ran = stage("teach", 40, cwd=local)
    assert "40 new calls" in ran.stdout, ran.stderr
    assert (local / "outputs/40/logits.npy").read_bytes() == before
    assert read_array(local / "outputs/40/energy1.npy").shape == (40, 28, 28)
    assert "0 new calls" in stage("teach", 40, cwd=local).stdout
    assert "20 new calls" in stage("teach", 60, cwd=local).stdout  # the new samples come with all signals at once
    assert accounts.status(open_ledger())[0]["calls"]["done"] == 100
    assert accounts.verify(open_ledger()) == []

    write_params(local, {"teacher.signals": ["logits", "embedding"]})  # fewer than are owned
    assert "0 new calls" in stage("teach", 40, cwd=local).stdout
    assert not (local / "outputs/40/energy1.npy").exists()


def test_what_a_teacher_does_not_offer_is_refused_with_what_would_work(local):
    write_params(local, {"study.methods": ["ce", "at"], "methods": {"ce": {}, "at": {}}})
    ran = stage("teach", 40, cwd=local)
    assert ran.returncode == 2
    assert "'at' needs energy, but the teacher gives only logits, embedding (teacher.signals)" in ran.stderr
    assert "Methods that would work: ce, label-smoothing" in ran.stderr
    assert "fitnet" not in ran.stderr
    write_params(
        local,
        {
            "study.methods": ["fsp"],
            "methods": {"fsp": {}},
            "student.arch": "resnet8x4",
            "teacher.signals": ["logits", "flow"],
        },
    )
    ran = stage("teach", 40, cwd=local)
    assert ran.returncode == 2  # the widths do not fit: found on an empty answer, before anything is paid
    assert "fsp" in ran.stderr
    assert accounts.status(open_ledger()) == []


def test_a_paid_teacher_is_not_asked_again_for_a_further_signal(paid):
    write_params(paid, {**PAID, "teacher.idempotent": True})
    assert stage("teach", 40, cwd=paid).returncode == 0
    (paid / "paid.py").write_text((paid / "paid.py").read_text() + "\nanswer.signals = ('logits', 'embedding')\n")
    ran = stage("teach", 40, cwd=paid)
    assert ran.returncode == 2  # idempotent, but it has a price
    assert len(bill(paid)) == 40
