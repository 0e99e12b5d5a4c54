"""Teachers of texts from a folder of transformers: they say what the library says, and what is no teacher is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.encoders import write_tokenizer

from tuition.errors import UserError
from tuition.origins import objects
from tuition.params.teacher import CheckpointSettings
from tuition.teachers import fingerprint, load_teacher

CLASSES = ["animal", "person", "plant"]  # the network has them in another order
TAPS = ["bert.encoder.layer.0", "bert.encoder.layer.1"]
ALL = ["logits", "embedding", "map", "pooled", "classifier"]


def load(folder, classes=CLASSES, **more):
    facts = {"classes": classes, "inputs": "texts", "characters": [1, 200]}
    return load_teacher(CheckpointSettings(weights=str(folder), **more), facts)


def test_it_says_of_each_text_what_the_library_says_whatever_stands_beside_it(classifier, kinds_of_glosses):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    long = " ".join(kinds_of_glosses[0][:20])
    asked = [*kinds_of_glosses[0][:15], long]
    teacher = load(classifier, signals=ALL, taps=TAPS)
    assert teacher.classes == 3
    assert teacher.signals == ("logits", "embedding", "map1", "pooled1", "map2", "pooled2")
    said, constants = teacher.answer_now(objects(asked)), teacher.constants()
    net, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(classifier).eval(),
        AutoTokenizer.from_pretrained(classifier),
    )
    for row, text in enumerate(asked):
        given = tokenizer(text, return_tensors="pt", truncation=True, max_length=64, padding=False)
        with torch.no_grad():
            found = net(**given, output_hidden_states=True)
        theirs = dict(zip(("plant", "animal", "person"), found.logits[0].tolist(), strict=True))
        np.testing.assert_allclose(said["logits"][row], [theirs[name] for name in CLASSES], atol=1e-4)
        for place in (1, 2):
            mean = found.hidden_states[place][0].mean(0).numpy()
            np.testing.assert_allclose(said[f"map{place}"][row, :, 0, 0], mean, atol=1e-4)
            np.testing.assert_allclose(said[f"pooled{place}"][row], mean, atol=1e-4)
    again = said["embedding"] @ constants["classifier_weight"].T + constants["classifier_bias"]
    np.testing.assert_allclose(said["logits"], again, atol=1e-4)
    assert teacher.shortened(objects(asked)) == sum(
        len(tokenizer(text, padding=False).input_ids) > 64 for text in asked
    )
    assert teacher.shortened(objects([long])) == 1
    right = load(classifier).answer_now(objects(kinds_of_glosses[0]))["logits"].argmax(1)
    assert np.mean(np.array(CLASSES)[right] == kinds_of_glosses[1]) > 0.5


def test_it_is_known_by_what_decides_its_answers(classifier, tmp_path, kinds_of_glosses):
    known = fingerprint(load(classifier).description)
    shutil.copytree(classifier, tmp_path / "copy")
    assert fingerprint(load(tmp_path / "copy", batch_size=2).description) == known
    assert fingerprint(load(tmp_path / "copy", max_text_tokens=10).description) != known
    text = objects(kinds_of_glosses[0][:1])
    short = load(tmp_path / "copy", max_text_tokens=5)
    assert short.shortened(text) == 1
    assert not np.allclose(short.answer_now(text)["logits"], load(classifier).answer_now(text)["logits"])
    weights = load_file(tmp_path / "copy/model.safetensors")
    save_file({**weights, "classifier.bias": weights["classifier.bias"] + 1}, tmp_path / "copy/model.safetensors")
    assert fingerprint(load(tmp_path / "copy").description) != known


def changed(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def without_head(folder):
    path = folder / "model.safetensors"
    save_file({key: one for key, one in load_file(path).items() if not key.startswith("classifier")}, path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: changed(f, auto_map={"AutoModel": "x.Y"}), r"config\.json: auto_map names code in the folder"),
        (lambda f: write_tokenizer(f, [chr(n) * 3 for n in range(200, 600)], 900), "the tokenizer does not fit"),
        (lambda f: changed(f, id2label={0: "a", 1: "b"}), "transformers cannot load it"),
        (
            lambda f: changed(f, id2label={0: "plant", 1: "animal", 2: "thing"}),
            r"id2label: it has no class 'person' of the data; found 'plant', 'animal', 'thing'",
        ),
        (without_head, "the weights lack 2 of a classifier's .*: an encoder that was not trained to classify"),
        (lambda f: changed(f, problem_type="multi_label_classification"), "its texts have several classes each"),
        (lambda f: changed(f, model_type="none such"), "transformers cannot load it"),
        (lambda f: (f / "model.safetensors").unlink(), r"no weights \(model\.safetensors\)"),
        (lambda f: shutil.rmtree(f), "no such folder; nothing is fetched"),
    ],
)
def test_a_folder_that_is_no_teacher_is_refused(classifier, tmp_path, spoil, told):
    shutil.copytree(classifier, tmp_path / "folder")
    spoil(tmp_path / "folder")
    with pytest.raises(UserError, match=rf"teacher\.weights: .*{told}"):
        load(tmp_path / "folder")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"classes": [*CLASSES, "shape"]}, r"config\.json: this teacher knows 3 classes, but the data has 4"),
        ({"signals": ["preact"]}, r"teacher\.signals: found 'preact'; a classifier of texts gives logits, embedding,"),
        ({"signals": ["map"]}, r"teacher\.signals: 'map' needs teacher\.taps"),
        (
            {"taps": ["bert.encoder.layer.7"]},
            r"teacher\.taps: found 'bert\.encoder\.layer\.7', .* Near matches: bert\.",
        ),
        ({"taps": ["bert.pooler"]}, r"teacher\.taps: 'bert\.pooler' gives values of shape \(1, 32\) for 64 tokens"),
        ({"max_text_tokens": 65}, r"teacher\.max_text_tokens: the network does not read a text of 65 tokens"),
    ],
)
def test_what_it_cannot_give_is_told(classifier, more, told):
    with pytest.raises(UserError, match=told):
        load(classifier, **more)


def test_classes_without_names_are_taken_in_the_data_s_order(classifier, tmp_path, kinds_of_glosses):
    shutil.copytree(classifier, tmp_path / "folder")
    changed(tmp_path / "folder", id2label={place: f"LABEL_{place}" for place in range(3)})
    text = objects(kinds_of_glosses[0][:1])
    named, bare = load(classifier).answer_now(text)["logits"], load(tmp_path / "folder").answer_now(text)["logits"]
    np.testing.assert_allclose(named[:, [2, 0, 1]], bare, atol=1e-6)
