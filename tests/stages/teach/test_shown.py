"""What a teacher is shown: the original, at its own size or at teacher.resize; or what students see, where that is the size asked for."""

import base64
import json

import numpy as np
import pytest
from PIL import Image
from support import PAID, digits, stage, write_params

from stages.teach.pool import read_pool
from stages.teach.seen import Part, show
from tuition import params as parameters
from tuition.files import read_array
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger
from tuition.origins import read_origins
from tuition.params.teacher import teacher_settings
from tuition.teachers.formats.openai import OpenAIFormat

TEACHER = """
import json
import numpy as np

def scores(images, keys):
    with open("shown.jsonl", "a") as bill:
        for image in images:
            bill.write(json.dumps([list(image.shape), int(image.sum())]) + "\\n")
    flat = np.stack([image.astype(float).mean(0)[:16, :16].ravel() for image in images])
    return flat @ np.random.default_rng(0).normal(size=(256, 2))
"""


@pytest.fixture
def photos(workspace):
    """Digits 1 and 7 as photos of many sizes; students see 16 pixels a side."""
    images, labels = digits(1000)
    chosen = [i for i in range(len(images)) if labels[i] in (1, 7)][:120]
    for number, i in enumerate(chosen):
        folder = workspace / "photos" / str(labels[i])
        folder.mkdir(parents=True, exist_ok=True)
        side = 20 + number % 30
        Image.fromarray(images[i]).resize((side + 3, side)).save(folder / f"{number}.png")
    (workspace / "mine.py").write_text(TEACHER)
    return workspace


def teach(place, budget=40, **more):
    changes = {
        **PAID,
        "data.source": "folder:photos",
        "data.resize": 16,
        "teacher.function": "mine:scores",
        "teacher.batch_size": 1,
        "teacher.unchecked": ["labels"],
        "study.methods": ["kd"],
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    write_params(place, changes)
    ran = stage("prepare", cwd=place)
    assert ran.returncode == 0, ran.stderr
    return stage("teach", budget, cwd=place)


def shown(place):
    file = place / "shown.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def stored(place, budget=40):
    """The samples of an export, as students see them."""
    return read_array(place / "data/train/images.npy")[read_array(place / f"outputs/{budget}/positions.npy")]


def test_the_original_at_its_own_size(photos):
    ran = teach(photos)
    assert ran.returncode == 0, ran.stderr
    shapes = {tuple(shape) for shape, _ in shown(photos)}
    assert len(shown(photos)) == 40
    assert len(shapes) > 10
    assert all(width == height + 3 for _, height, width in shapes)
    ids = read_array(photos / "data/train/ids.npy")[read_array(photos / "outputs/40/positions.npy")]
    np.testing.assert_array_equal(read_array(photos / "outputs/40/ids.npy"), ids)

    assert teach(photos, data__resize=20).returncode == 0  # another student's size: nothing is paid again
    assert len(shown(photos)) == 40
    (photos / "data/train/files.csv").unlink()
    assert stage("teach", 40, cwd=photos).returncode == 0, "where all is owned, no original is sought"


def test_the_size_that_it_wants_many_at_a_time(photos):
    ran = teach(photos, teacher__resize=24, teacher__batch_size=16)
    assert ran.returncode == 0, ran.stderr
    assert {tuple(shape) for shape, _ in shown(photos)} == {(1, 24, 24)}


def test_what_students_see_where_that_is_the_size(photos):
    ran = teach(photos, teacher__resize=16, teacher__batch_size=16)
    assert ran.returncode == 0, ran.stderr
    assert sorted(total for _, total in shown(photos)) == sorted(int(one.sum()) for one in stored(photos))
    assert (photos / "outputs/40/asked_ids.npy").exists()
    description = json.loads(accounts.find(open_ledger(), None).description)
    assert "resize" not in description  # as it was bought when there was no other way

    ran = teach(photos)  # the same teacher, shown originals
    assert ran.returncode == 2
    assert "answers to 40 of these 40 samples are owned" in ran.stderr
    assert "Set teacher.resize: 16 to go on with those, or another teacher.version" in ran.stderr
    assert len(shown(photos)) == 40


def test_an_export_of_what_students_see_can_be_taken_back(photos, monkeypatch):
    assert teach(photos, teacher__resize=16).returncode == 0
    monkeypatch.setenv("TUITION_LEDGER", str(photos / "new.db"))
    from tuition.ledger.imports import import_folder

    assert import_folder(open_ledger(), photos / "outputs/40") == (40, 0)
    assert teach(photos, teacher__resize=16).returncode == 0
    assert len(shown(photos)) == 40


def test_sizes_that_cannot_share_a_request_are_refused_before_a_call(photos):
    ran = teach(photos, teacher__batch_size=8)
    assert ran.returncode == 2
    assert "teacher.batch_size: found 8 and originals of 23x20 to 52x49 pixels" in ran.stderr
    assert "teacher.resize to the pixels a side that it wants (16 shows what students see)" in ran.stderr
    assert shown(photos) == []


def test_an_original_that_changed_stops_and_costs_nothing(photos):
    teach(photos, 10)
    for file in (photos / "photos").rglob("*.png"):
        Image.fromarray(np.zeros((30, 30), np.uint8)).save(file)
    ran = stage("teach", 40, cwd=photos)
    assert ran.returncode == 2
    assert "not the image that `prepare` read" in ran.stderr
    assert len(shown(photos)) == 10
    assert accounts.status(open_ledger())[0]["calls"]["unknown"] == 0


@pytest.mark.parametrize("resize", [16, None])
def test_a_file_can_be_sent_as_it_is(photos, resize):
    for file in (photos / "photos").rglob("*.png"):
        image = Image.open(file) if resize else Image.open(file).resize((20, 20))
        image.save(file.with_suffix(".jpg"), quality=95)
        file.unlink()
    write_params(photos, {**PAID, "data.source": "folder:photos", "data.resize": resize})
    assert stage("prepare", cwd=photos).returncode == 0
    section = {
        "kind": "openai",
        "url": "http://127.0.0.1:9",
        "model": "m",
        "batch_size": 1,
        "options": {"send": "original"},
    }
    settings, data = teacher_settings(**section), parameters.load().data
    pool = read_pool(parameters.load().teach)
    part = Part("train", pool.ids, pool.stored_ids, pool.samples)
    seen = show(data, settings, pool, part, np.arange(5))
    places = [place for _, place in read_origins(photos / "data/train/files.csv")][:5]
    for request, (file, _) in zip(seen.requests, places, strict=True):
        content = (photos / "photos" / file).read_bytes()
        shown = seen([request])
        assert shown.tolist() == [content]
        asked = json.loads(OpenAIFormat(settings, pool.facts).request(shown, ["key"]).content)
        url = asked["messages"][0]["content"][1]["image_url"]["url"]
        assert url == f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
    assert OpenAIFormat(settings, pool.facts).options()["send"] == "original"
    assert "send" not in OpenAIFormat(teacher_settings(**section | {"options": {}}), pool.facts).options()


def test_views_are_of_what_students_see(photos):
    ran = teach(photos, teach__views=2, teach__crop=1)
    assert ran.returncode == 0, ran.stderr
    assert {tuple(shape) for shape, _ in shown(photos)} == {(1, 16, 16)}


def test_answers_for_val_and_test_are_of_originals_too(photos):
    loose = photos / "loose"
    loose.mkdir()
    for file in (photos / "photos").rglob("*.png"):
        file.rename(loose / file.name)
    ran = teach(photos, data__source="folder:loose", data__classes=["1", "7"], teach__evaluation=12)
    assert ran.returncode == 0, ran.stderr
    assert len(shown(photos)) == 40
    assert all(shape[2] == shape[1] + 3 for shape, _ in shown(photos))
    labels = np.concatenate([read_array(photos / f"outputs/40/evaluation/{s}/labels.npy") for s in ("val", "test")])
    assert (labels >= 0).sum() == 12
