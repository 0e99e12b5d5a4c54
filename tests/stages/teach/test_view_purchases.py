"""Views that are bought: what is paid, what is refused, what the teacher is asked, and what students are trained on."""

import sys

import numpy as np
import pytest
import torch
from support import bill, stage, write_params
from support.loopback import Server, slowly
from support.purchases import Shop
from support.viewing import THREE, bought, teach

from tuition.files import read_array, read_json
from tuition.inputs.images.views import replay
from tuition.ledger import accounts, owned
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request, key_of
from tuition.purchase.views import draw
from tuition.views import from_text, to_text


def logits_of(folder, images):
    sys.path.insert(0, str(folder))
    try:
        import paid as module

        return module.logits(images).astype(np.float32)
    finally:
        sys.path.remove(str(folder))


def test_a_budget_buys_views_keyed_by_what_they_are_and_a_bigger_one_pays_the_difference(paid):
    ran = teach(paid, 30)
    assert ran.returncode == 0, ran.stderr
    assert read_json(paid / "spend/30.json") == {"budget": 30, "calls": 30, "cost": 0.3, "new_calls": 30, "usable": 30}
    images, texts, ids = bought(paid, 30)
    meta = read_json(paid / "outputs/30/meta.json")
    assert (meta["view"], meta["n"]) == ("views.npy", 30)
    assert meta["views"] == {
        "columns": ["top", "left", "height", "width", "flip"],
        "number": 3,
        "crop": 2,
        "flip": False,
    }
    assert read_array(paid / "outputs/30/views.npy").dtype == np.int32
    assert [ids.count(id) for id in ids] == [3] * 30
    assert len(set(zip(ids, texts, strict=True))) == 30
    pool, positions = read_array(paid / "data/train/ids.npy"), read_array(paid / "outputs/30/positions.npy")
    assert [pool[i].decode() for i in positions] == ids
    np.testing.assert_array_equal(read_array(paid / "outputs/30/logits.npy"), logits_of(paid, images))
    mark = meta["teacher"]["fingerprint"]
    assert bill(paid) == [key_of(mark, Request(id, text)) for id, text in zip(ids, texts, strict=True)]

    small = {
        name: read_array(paid / f"outputs/30/{name}.npy").copy() for name in ("ids", "views", "positions", "logits")
    }
    assert "30 new calls, 60 outputs" in teach(paid, 60).stdout
    assert len(bill(paid)) == len(set(bill(paid))) == 60
    for name, values in small.items():
        np.testing.assert_array_equal(read_array(paid / f"outputs/60/{name}.npy")[:30], values)
    assert "0 new calls" in teach(paid, 30).stdout
    assert "10 new calls" in teach(paid, 40, teach__views=4).stdout  # of the same ten samples a fourth view each
    assert len(bill(paid)) == 70
    assert accounts.verify(open_ledger()) == []
    assert accounts.status(open_ledger())[0]["samples"] == 20


def test_a_budget_that_is_no_multiple_ends_within_a_sample_and_the_whole_pool_can_be_bought(paid):
    assert teach(paid, 31).returncode == 0
    assert len(bill(paid)) == 31
    pool = len(set(read_array(paid / "data/train/ids.npy").tolist()))
    ran = teach(paid, 3 * pool + 2)
    most = 3 * pool + 1  # with a second answer to the first view
    assert (
        f"{pool} distinct samples, each bought in 3 views (teach.views), of which one is asked for twice; valid: 1 to {most}"
        in ran.stderr
    )
    assert len(bill(paid)) == 31


def test_a_view_that_is_the_sample_itself_is_not_paid_beside_it(paid):
    assert teach(paid, 30, teach__crop=0, teach__flip=True, teach__views=2).returncode == 0
    _, texts, ids = bought(paid, 30)
    assert sorted(set(texts)) == ["clean", "crop=0,0,28,28;flip=1"]
    assert "0 new calls" in teach(paid, 15, teach__views=1).stdout
    assert [id.decode() for id in read_array(paid / "outputs/15/ids.npy")] == ids[::2]
    assert not (paid / "outputs/15/views.npy").exists()
    assert len(bill(paid)) == 30


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"teach.views": 26},
            "teach.views: 26, but teach.crop: 2 and teach.flip: false give 25 different views of a sample",
        ),
        ({"teach.views": 51, "teach.flip": True}, "teach.flip: true give 50 different views"),
        (
            {"teach.crop": 28},
            "teach.crop: 28, but images are 28 × 28, and a view could miss all of a sample; valid: 0 to 27",
        ),
        ({"teach.mixed": True}, "teach.views: 3 with teach.mixed: true"),
        (
            {"study.methods": ["kd", "mixkd"], "methods": {"kd": {}, "mixkd": {}}},
            "set teach.views: 1 and teach.mixed: true",
        ),
        (
            {
                "teacher.kind": "experts",
                "teacher.experts": [{"arch": "resnet8", "weights": "a"}] * 2,
                "teacher.free": {"arch": "resnet8", "weights": "a"},
            },
            "teach.views: 3, but teacher.kind 'experts' answers samples of the pool alone",
        ),
        ({"teach.views": 0}, "teach.views: found 0"),
    ],
)
def test_what_cannot_be_bought_is_refused_before_anything_is_paid(paid, changes, message):
    own = [
        key for key in THREE if key == "teacher.function" and "teacher.kind" in changes
    ]  # of the kind that it is not then
    write_params(paid, {key: value for key, value in {**THREE, **changes}.items() if key not in own}, check=False)
    ran = stage("teach", 30, cwd=paid)
    assert (ran.returncode, "Traceback" in ran.stderr) == (2, False)
    assert message in ran.stderr
    assert bill(paid) == []


def test_the_teacher_is_asked_again_about_views_too(paid):
    recheck = {"every": 10, "samples": 4, "tolerance": 0.01}
    ran = teach(paid, 30, teacher__recheck=recheck)
    assert ran.returncode == 0, ran.stderr
    assert len(bill(paid)) == len(set(bill(paid))) == 30
    assert read_json(paid / "spend/30.json")["recheck_calls"] == 8
    assert len(read_array(paid / "outputs/30/ids.npy")) == 22
    assert "0 new calls" in teach(paid, 30, teacher__recheck=recheck).stdout


class Viewed(Shop):
    """A purchase of all views of each sample, by crops of one pixel and flips, from the loopback teacher."""

    def __init__(self, server, count, **more):
        super().__init__(server, count, budget=18 * count, **more)
        texts = [to_text(view) for view in draw(b"any", 18, (8, 8), 1, True, 0)]
        self.image = {
            one._replace(view=text): replay(image, from_text(text))
            for one, image in self.image.items()
            for text in texts
        }


def test_all_views_are_bought_over_the_network_with_all_requests_under_way():
    with Server() as server:
        server.script.extend([slowly(0.03)] * 200)
        shop = Viewed(server, 10, max_in_flight=6)
        assert shop.buy() == 180
        assert shop.owned() == shop.requests
        assert server.most_under_way == 6
        assert sorted(server.processed) == sorted(shop.key(one) for one in shop.requests)
        shop.check()
        assert shop.buy() == 0
        assert len(server.processed) == 180


@pytest.mark.slow
def test_students_are_trained_and_judged_on_the_views_that_were_bought(paid):
    """compare, train and evaluate on rows that are views; what a student sees is no other crop than the one that was paid for."""
    assert teach(paid, 30).returncode == 0
    assert stage("compare", 30, cwd=paid).returncode == 0
    assert stage("transfer", cwd=paid).returncode == 0
    for method in ("ce", "kd", "ckd-mse"):
        ran = stage("train", 30, method, 0, cwd=paid)
        assert ran.returncode == 0, ran.stderr
    meta = read_json(paid / "students/30-kd-0/meta.json")
    assert (meta["samples"], meta["augmentation"]) == (30, "views as bought")
    weights = (paid / "students/30-kd-0/weights.safetensors").read_bytes()
    write_params(paid, {**THREE, "train.crop": 4, "train.flip": True})
    assert stage("train", 30, "kd", 0, cwd=paid).returncode == 0
    assert (paid / "students/30-kd-0/weights.safetensors").read_bytes() == weights  # nothing is cropped or flipped anew

    ran = stage("evaluate", 30, "kd", 0, cwd=paid)
    assert ran.returncode == 0, ran.stderr
    from tuition.models import load_student

    model, about = load_student(paid / "students/30-kd-0")
    images, _, _ = bought(paid, 30)
    with torch.no_grad():
        said = model.eval()((torch.from_numpy(images).float() / 255 - about["mean"][0]) / about["std"][0]).argmax(1)
    agree = (said.numpy() == read_array(paid / "outputs/30/logits.npy").argmax(1)).mean()
    assert read_json(paid / "results/30-kd-0/metrics.json")["agreement_with_teacher"] == pytest.approx(agree)

    # The views as a pool of their own: a student of the same images, without augmentation, is the same student.
    labels = np.array(read_array(paid / "data/train/labels.npy"))[read_array(paid / "outputs/30/positions.npy")]
    np.save(paid / "data/train/images.npy", images)
    np.save(paid / "data/train/labels.npy", labels)
    np.save(paid / "outputs/30/positions.npy", np.arange(30))
    (paid / "outputs/30/views.npy").unlink()
    write_params(paid, {**THREE, "train.crop": 0})
    assert stage("train", 30, "kd", 0, cwd=paid).returncode == 0
    assert (paid / "students/30-kd-0/weights.safetensors").read_bytes() == weights


def test_views_of_one_ledger_can_be_owned_next_to_clean_samples(paid):
    assert teach(paid, 20, teach__views=1).returncode == 0
    assert teach(paid, 30).returncode == 0
    _, texts, _ = bought(paid, 30)
    assert len(bill(paid)) == len(set(bill(paid))) == 50 - texts.count("clean")
    ids = [id.decode() for id in read_array(paid / "outputs/20/ids.npy")]
    ledger = open_ledger()
    id = accounts.find(ledger, None).id
    requests = [Request(one) for one in ids]
    assert owned.read(ledger, id, requests)[0].tolist() == list(range(20))
    assert owned.standing(ledger, id, requests).cost(requests) == 0.2
