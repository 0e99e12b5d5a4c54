"""The inbox: what is new is taken once, by its pixels; all else is counted or named, and nothing half."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import stage, write_params
from support.refreshes import dies

from tuition import params as parameters
from tuition.errors import Unreachable, UserError
from tuition.files import read_array, read_json
from tuition.inputs import images
from tuition.inputs.images.files import content_id
from tuition.intake.item import Item
from tuition.intake.take import sort, take
from tuition.sources.additions import digest, listed

SPLITS = ("train", "val", "test")


def put(folder: Path, image: np.ndarray, name: str, file: str) -> str:
    """Lay an image (28, 28) into the inbox; returns the id that it will have."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / name / file)
    return content_id(image[None])


def drawn(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


@pytest.fixture
def inbox(workspace) -> Path:
    """An empty inbox beside a prepared workspace; the teacher is a function."""
    write_params(workspace, {"data.source": "mnist5k", "teacher.kind": "python", "teacher.function": "a:b"})
    meta = read_json(workspace / "data/meta.json")  # was prepared from an archive of another name
    write_params(workspace, {"data.source": meta["source"], "teacher.kind": "python", "teacher.function": "a:b"})
    (workspace / "inbox").mkdir()
    return workspace / "inbox"


def taken(place: Path | str = "inbox") -> dict:
    return take(parameters.load(), str(place))


def test_new_samples_are_taken_by_their_pixels_and_once(inbox):
    ids = {put(inbox, image, str(i % 2), f"{i}.png") for i, image in enumerate(drawn(5))}
    told = taken()
    assert (told["new"], told["additions"], told["classes"]) == (5, 5, {"0": 3, "1": 2})
    assert {id for id, _ in listed(Path("additions"))} == ids
    params = parameters.load()
    assert params.data.additions is not None
    assert params.data.additions.digest == digest(listed(Path("additions"))) == told["digest"]
    before = Path("params.yaml").read_bytes()
    again = taken()
    assert (again["new"], again["duplicates"]) == (0, {"additions": 5})
    assert Path("params.yaml").read_bytes() == before
    put(inbox, drawn(6)[5], "3", "later.png")
    assert (taken()["new"], len(listed(Path("additions")))) == (1, 6)


def test_names_say_nothing_and_duplicates_are_counted_by_where_they_are_held(inbox):
    one = drawn(1)[0]
    put(inbox, one, "4", "a.png")
    put(inbox, one, "4", "b.png")
    for split, number in zip(SPLITS, (3, 2, 1), strict=True):
        images, labels = (read_array(Path("data", split, f"{name}.npy")) for name in ("images", "labels"))
        for i in range(number):
            put(inbox, images[i, 0], str(labels[i]), f"{split}{i}.png")
    told = taken()
    assert told["duplicates"] == {"inbox": 1, "train": 3, "val": 2, "test": 1}
    assert told["new"] == 1


def test_what_is_no_image_is_named_with_the_reason(inbox):
    put(inbox, drawn(1)[0], "0", "good.png")
    (inbox / "0/notes.txt").write_text("hello")
    whole = (inbox / "0/good.png").read_bytes()
    (inbox / "1").mkdir()
    (inbox / "1/half.png").write_bytes(whole[: len(whole) // 2])
    (inbox / "list.csv").write_text("a,b")
    (inbox / "1/.DS_Store").write_text("x")
    (inbox / "1/Thumbs.db").write_text("x")
    told = taken()
    assert (told["new"], told["rejected"], told["files"]) == (1, 3, 4)
    rows = dict(list(csv.reader(Path("refresh/rejected.csv").read_text().splitlines()))[1:])
    assert rows.keys() == {"0/notes.txt", "1/half.png", "list.csv"}
    assert rows["0/notes.txt"] == "not an image that Pillow can read"
    assert rows["list.csv"] == "not in a class folder"


def test_links_are_followed_and_those_that_lead_nowhere_are_named(inbox, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for number, image in enumerate(drawn(4)):
        put(elsewhere, image, str(number // 2), f"{number}.png")
    (inbox / "0").symlink_to(elsewhere / "0")
    (inbox / "1").mkdir()
    (inbox / "1/more").symlink_to(elsewhere / "1")
    (elsewhere / "1/round").symlink_to(".")
    (inbox / "1/lost").symlink_to("nowhere")
    told = taken()
    assert (told["new"], told["classes"], told["rejected"]) == (4, {"0": 2, "1": 2}, 1)
    assert Path("refresh/rejected.csv").read_text() == "file,reason\n1/lost,a link that leads nowhere\n"


def test_names_that_are_not_utf8_are_told(inbox):
    (inbox / "1").mkdir()
    Path(os.fsdecode(os.fsencode(inbox / "1") + b"/\xff.png")).write_text("no image")
    assert taken()["rejected"] == 1
    assert "1/\\udcff.png,not an image" in Path("refresh/rejected.csv").read_bytes().decode()


def test_twelve_bits_in_sixteen_are_told(inbox):
    (inbox / "5").mkdir()
    Image.fromarray(np.full((28, 28), 4095, np.uint16)).save(inbox / "5/deep.png")
    assert "hold values from 4095 to 4095 (12 bits)" in taken()["warnings"][0]


def test_the_same_image_in_two_classes_is_taken_once_and_named(inbox):
    image = drawn(1)[0]
    put(inbox, image, "1", "a.png")
    put(inbox, image, "2", "b.png")
    told = taken()
    assert (told["new"], told["rejected"]) == (1, 1)
    assert "in class '1'" in Path("refresh/rejected.csv").read_text()


def test_images_get_the_size_and_the_channels_of_the_pool(inbox):
    (inbox / "5").mkdir()
    colour = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(colour).save(inbox / "5/colour.png")
    Image.fromarray(np.full((28, 28), 65535, np.uint16)).save(inbox / "5/deep.png")
    assert taken()["new"] == 2
    images = [np.asarray(Image.open(file)) for file in Path("additions/5").iterdir()]
    assert all(image.shape == (28, 28) and image.dtype == np.uint8 for image in images)
    assert any((image == 255).all() for image in images)


@pytest.mark.parametrize(("name", "said"), [("dragon", "'dragon'"), ("10", "'10'")])
def test_a_class_never_seen_is_refused_and_nothing_is_taken(inbox, name, said):
    put(inbox, drawn(1)[0], "0", "good.png")
    put(inbox, drawn(2)[1], name, "new.png")
    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match=f"{said}: a class never seen; valid folders: 0, 1, 2, .*nothing was taken"):
        taken()
    assert not Path("additions").exists()
    assert Path("params.yaml").read_bytes() == before


def test_an_empty_inbox_is_none_new(inbox):
    (inbox / "7").mkdir()
    told = taken()
    assert (told["new"], told["files"], told["additions"], told["digest"]) == (0, 0, 0, None)
    assert parameters.load().data.additions is None


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("params.yaml", "params.yaml: not a folder"),
        ("gopher://x/y", "gopher"),
    ],
)
def test_an_inbox_that_is_not_there_is_said_so(inbox, place, said):
    with pytest.raises(UserError, match=f"refresh.inbox: {said}"):
        taken(place)


def test_no_inbox_at_all(inbox):
    with pytest.raises(UserError, match=r"refresh\.inbox: null; name a folder"):
        take(parameters.load(), None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"teach.views": 2}, "teach.views: 2"),
        ({"teacher.samples": 2}, "teacher.samples: 2, but a refresh counts its allowance in samples"),
        ({"teach.mixed": True}, "teach.mixed: true"),
        ({"teacher.kind": "checkpoint"}, "cp -r teacher kept"),
        ({"teacher.kind": "checkpoint", "teacher.weights": "./teacher/weights.safetensors"}, "cp -r teacher kept"),
        (
            {
                "teacher.kind": "experts",
                "teacher.experts": [{"arch": "resnet8", "weights": "a"}, {"arch": "resnet20", "weights": "b"}],
                "teacher.free": {"arch": "resnet8", "weights": "c"},
            },
            "teacher.kind: experts",
        ),
        ({"teachers": [{"name": "two", "kind": "python", "function": "a:c"}]}, "teachers: two"),
    ],
)
def test_what_would_be_paid_again_or_beyond_the_allowance_is_refused(inbox, changes, said):
    put(inbox, drawn(1)[0], "0", "good.png")
    source = read_json(Path("data/meta.json"))["source"]
    function = {} if "teacher.kind" in changes else {"teacher.kind": "python", "teacher.function": "a:b"}
    write_params(Path(), {"data.source": source, **function, **changes})
    with pytest.raises(UserError, match=said):
        taken()
    assert not Path("additions").exists()


@pytest.mark.parametrize(
    ("key", "value", "then"),
    [
        ("source", "mnist5k", "'npz:"),
        ("evaluation", "csv:few.csv", "None"),
        ("classes", ["cat", "dog"], "None"),
        ("columns", {"label": "kind"}, "{'input': None"),
        ("noise", 0.1, "0.0"),
    ],
)
def test_data_of_other_parameters_is_refused(inbox, key, value, then):
    source = read_json(Path("data/meta.json"))["source"]
    teacher = {"teacher.kind": "python", "teacher.function": "a:b"}
    write_params(Path(), {"data.source": source, **teacher, f"data.{key}": value})
    with pytest.raises(UserError, match=rf"data.{key}: .*, but data/ was made with {then}.*dvc repro prepare"):
        taken()


def test_a_folder_that_someone_changed_is_refused(inbox):
    put(inbox, drawn(1)[0], "0", "a.png")
    taken()
    image = drawn(2)[1]
    Image.fromarray(image).save(Path("additions/0", f"{content_id(image[None])}.png"))
    put(inbox, drawn(3)[2], "0", "b.png")
    with pytest.raises(UserError, match=r"holds 2 samples with the digest .*the folder was changed otherwise"):
        taken()


def test_killed_anywhere_it_goes_on(inbox):
    """kill -9 after each step that writes; the next take ends as if nothing had been."""
    ids = {put(inbox, image, str(i % 3), f"{i}.png") for i, image in enumerate(drawn(4))}
    killed = 0
    while dies(killed + 1, "intake", "take", "--inbox", "inbox"):
        killed += 1
        taken()
        samples = listed(Path("additions"))
        assert {id for id, _ in samples} == ids
        additions = parameters.load().data.additions
        assert additions is not None
        assert additions.digest == digest(samples)
        assert not Path("refresh/taking.json").exists()
        assert not Path("refresh/aside").exists()
        # and anew
        for file in Path("additions").rglob("*.png"):
            file.unlink()
        source = read_json(Path("data/meta.json"))["source"]
        write_params(Path(), {"data.source": source, "teacher.kind": "python", "teacher.function": "a:b"})
    assert killed >= 10  # four aside, the note, four in place, params.yaml


def test_sorting_is_of_names_and_pixels_alone():
    a, b = drawn(2)[:, None]
    kept = []
    done = sort(
        [
            Item("0/a", "0", a),
            Item("x", None, None),
            Item("1/b", "1", None, "broken"),
            Item("0/a2", "0", a),
            Item("2/b", "2", b),
            Item("3/b", "3", b),
        ],
        {content_id(b): ("test", "9")},
        images,
        lambda *one: kept.append(one[:2]),
    )
    assert done.new == {content_id(a): "0"}
    assert kept == [(content_id(a), "0")]
    assert done.duplicates == {"inbox": 1, "test": 2}
    assert done.rejected == [("x", "not in a class folder"), ("1/b", "broken")]


def test_without_a_label_a_file_may_lie_in_no_class_folder():
    a, b, c = drawn(3)[:, None]
    done = sort(
        [
            Item("a.png", None, a),
            Item("x.txt", None, None, "no image"),
            Item("b.png", None, b),
            Item("0/c.png", "0", c),
            Item("c.png", None, c),
        ],
        {content_id(b): ("train", "9")},
        images,
        lambda *one: None,
        loose=True,
    )
    assert done.new == {content_id(a): "", content_id(c): "0"}
    assert done.duplicates == {"train": 1, "inbox": 1}
    assert done.rejected == [("x.txt", "no image")]


@pytest.fixture(scope="module")
def bucket():
    """An S3 server of its own with the bucket `inbox`; gives its address and a client."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="me", aws_secret_access_key="secret"
    )
    client.create_bucket(Bucket="inbox")
    yield url, client
    server.stop()


@pytest.fixture
def s3(bucket, monkeypatch):
    url, client = bucket
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return client


def test_an_inbox_in_an_object_store(inbox, s3):
    for i, image in enumerate(drawn(3, seed=5)):
        put(inbox, image, str(i), f"{i}.png")
        s3.upload_file(str(inbox / f"{i}/{i}.png"), "inbox", f"new/digits/{i}/{i}.png")
    s3.put_object(Bucket="inbox", Key="new/digits/0/notes.txt", Body=b"no image")
    s3.put_object(Bucket="inbox", Key="new/digits/", Body=b"")  # what consoles call a folder
    s3.put_object(Bucket="inbox", Key="elsewhere/dragon/1.png", Body=b"x")
    told = taken("s3://inbox/new/digits")
    assert (told["new"], told["rejected"], told["classes"]) == (3, 1, {"0": 1, "1": 1, "2": 1})
    assert taken("s3://inbox/new/digits/")["new"] == 0
    assert taken("s3://inbox/nothing/yet")["files"] == 0
    with pytest.raises(UserError, match="'digits': a class never seen"):
        taken("s3://inbox/new")
    with pytest.raises(UserError, match="s3://nobucket/x: The specified bucket does not exist"):
        taken("s3://nobucket/x")


def test_a_store_that_does_not_answer_is_tried_again_by_the_flow(inbox, s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    done = stage("intake", "take", "--inbox", "s3://inbox/new", cwd=Path(), env={**os.environ})
    assert done.returncode == Unreachable.status
    assert "refresh.inbox: s3://inbox/new: " in done.stderr
    assert "Traceback" not in done.stderr
