"""Several experts: who answers is decided by difficulty, one expert a sample is asked, and the controls do what they say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support import stage, write_params
from support.methods import batch_of, context_of, made, terms

from tuition import params
from tuition.files import read_array, read_json
from tuition.inputs.images.files import content_id
from tuition.inputs.kinds import inputs_of
from tuition.models import build
from tuition.teachers import fingerprint, load_teacher
from tuition.teachers.experts import difficulties
from tuition.workspace import Workspace


@pytest.fixture
def experts(workspace, monkeypatch):
    """A workspace with three networks of fresh weights in files, and the parameters that name them."""
    for seed, arch in enumerate(("resnet8", "resnet14", "resnet20")):
        torch.manual_seed(seed)
        save_file(build(arch, channels=1, classes=10, size=(28, 28)).state_dict(), workspace / f"{arch}.safetensors")
    monkeypatch.chdir(workspace)
    named = [{"arch": arch, "weights": f"{arch}.safetensors"} for arch in ("resnet8", "resnet14", "resnet20")]
    return workspace, {
        "teacher.kind": "experts",
        "teacher.experts": named[1:],
        "teacher.free": named[0],
        "study.methods": ["ce", "ces-kd"],
        "methods": {"ce": {}, "ces-kd": {}},
    }


def teacher(changes):
    """The teacher of params.yaml with these changes, in the current folder."""
    write_params(Path(), changes)
    facts = read_json(Path("data/meta.json")) | read_json(Path("data/train/meta.json"))
    return load_teacher(params.load().teacher, facts).model


def test_each_sample_is_answered_by_the_expert_of_its_difficulty(experts):
    folder, changes = experts
    ours = teacher(changes)
    images, labels = (read_array(folder / f"data/train/{name}.npy") for name in ("images", "labels"))
    some = np.ascontiguousarray(images[:60])
    given = ours.answer(some)

    free = build("resnet8", channels=1, classes=10, size=(28, 28))
    free.load_state_dict(load_file(folder / "resnet8.safetensors"))
    free.eval()
    mean, std = ours.experts[0].description["mean"][0], ours.experts[0].description["std"][0]
    with torch.no_grad():
        logits = free((torch.from_numpy(np.array(images)).float() / 255 - mean) / std).double()
    losses = torch.nn.functional.cross_entropy(logits, torch.from_numpy(np.array(labels)), reduction="none").numpy()
    rank = np.array([(losses < losses[i]).mean() for i in range(60)])
    np.testing.assert_allclose(given["difficulty"][:, 0], rank, atol=3 / len(images))  # near ties may change places
    sure = np.abs(rank - 0.5) > 0.02
    assert (given["expert"][sure, 0] == (rank[sure] >= 0.5)).all()
    assert 10 < given["expert"].sum() < 50
    for number, expert in enumerate(ours.experts):
        rows = given["expert"][:, 0] == number
        np.testing.assert_allclose(
            given["logits"][rows], expert.answer(np.ascontiguousarray(some[rows]))["logits"], atol=1e-4
        )


def test_controls(experts):
    folder, changes = experts
    images = np.ascontiguousarray(read_array(folder / "data/train/images.npy")[:50])
    by = {choose: teacher({**changes, "teacher.choose": choose}) for choose in ("difficulty", "anti", "random", "mean")}
    given = {choose: one.answer(images) for choose, one in by.items()}
    hard = given["difficulty"]["difficulty"][:, 0]
    clear = np.abs(hard - 0.5) > 1e-3
    assert (given["anti"]["expert"][clear, 0] == 1 - given["difficulty"]["expert"][clear, 0]).all()
    again = by["random"].answer(images[::-1].copy())["expert"][::-1]
    assert (given["random"]["expert"] == again).all()  # a function of the sample alone
    assert 10 < given["random"]["expert"].sum() < 40
    each = [expert.answer(images)["logits"] for expert in by["mean"].experts]
    np.testing.assert_allclose(given["mean"]["logits"], (each[0] + each[1]) / 2, atol=1e-4)
    assert len({fingerprint(one.description) for one in by.values()}) == 4


def test_through_the_stages(experts):
    folder, changes = experts
    write_params(folder, changes)
    ran = stage("teach", 40, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "40 new calls" in ran.stdout
    assert read_json(folder / "outputs/40/meta.json")["signals"] == ["difficulty", "expert", "logits"]
    for name in ("compare", "train"):
        ran = stage(name, 40, *(("ces-kd", 0) if name == "train" else ()), cwd=folder)
        assert ran.returncode == 0, ran.stderr
    write_params(folder, {**changes, "teacher.experts": changes["teacher.experts"][:1]}, check=False)
    ran = stage("teach", 40, cwd=folder)
    assert ran.returncode == 2
    assert "teacher.experts: found 1" in ran.stderr


def test_difficulties_are_ranks_of_distinct_contents(experts):
    folder, changes = experts
    ours = teacher(changes)
    found = difficulties(ours.experts[0], Workspace(folder).split("train"), inputs_of({}))
    ids = read_array(folder / "data/train/ids.npy")
    assert set(found) == {one.decode() for one in ids}
    assert content_id(read_array(folder / "data/train/images.npy")[3]) in found
    assert sorted(found.values()) == pytest.approx(np.arange(len(ids)) / len(ids))


def test_the_curriculum_by_hand():
    """Two classes, T = 1, uniform student against (ln 3, 0): each KL is k; δ = 0.2, 0.6. At step 0 only the first is distilled."""
    k = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    batch = batch_of([0, 0], {"logits": np.array([[np.log(3), 0.0]] * 2), "difficulty": np.array([[0.2], [0.6]])})
    settings = {"temperature": 1.0, "weight": 1.0}
    student = {"logits": np.zeros((2, 2))}

    def loss(step, **more):
        objective = made("ces-kd", {**settings, **more}, context_of(student, steps=100))
        return terms(objective, student, batch._replace(step=step))[0]["teacher"]

    assert loss(0) == pytest.approx(k / 2)
    assert loss(20) == pytest.approx(k / 2)  # pace 0.3 + 0.7 · 20 / 50 = 0.58
    assert loss(22) == pytest.approx(k)  # 0.608
    assert loss(0, order="none") == pytest.approx(k)
    assert loss(0, order="hard-first") == pytest.approx(0)  # 1 − δ is 0.8 and 0.4
    assert loss(10, order="hard-first") == pytest.approx(k / 2)
