"""Texts as samples: their file, their ids, and the tokens that a student reads, in training and when it is asked."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from tuition.errors import UserError
from tuition.files import digest
from tuition.inputs import texts
from tuition.inputs.texts import tuition_texts
from tuition.params import Data, Student, Training
from tuition.sources.wordnet import load_wordnet

ODD = ["", "x", "👩‍👩‍👧 e\u0301 é", "a\r\nb\tc", "  ", "...", "naïve 数据 café", "word " * 3000, "x" * 5000, "A b"]


@pytest.fixture(scope="module")
def glosses():
    return load_wordnet("", Data(source="wordnet")).parts["train"].images[:2000]


@pytest.fixture(scope="module", params=["bpe", "hashed"])
def reading(request, glosses):
    return texts.own(glosses, request.param, Student(max_tokens=40))


def samples(*given):
    return np.array([*given, None], dtype=object)[:-1]


def test_texts_come_back_as_they_were_given(tmp_path):
    written = samples(*ODD)
    texts.write(tmp_path, written)
    found = texts.read(tmp_path)
    assert found.tolist() == ODD
    with pytest.raises(ValueError, match="read-only"):
        found[0] = "another"
    (tmp_path / "texts.arrow").write_bytes((tmp_path / "texts.arrow").read_bytes()[:90])
    with pytest.raises(UserError, match=r"texts\.arrow: cannot be read"):
        texts.read(tmp_path)


def test_an_id_is_that_of_the_bytes_and_no_form_of_unicode_is_changed():
    assert texts.content_id("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()
    assert texts.content_id("e\u0301") == hashlib.sha256(b"e\xcc\x81").hexdigest()


def test_arrays_of_texts_are_told_apart_by_their_content():
    one, other = samples("ab", "c"), samples("a", "bc")
    assert digest(one) == digest(samples("".join(["a", "b"]), "c"))
    assert digest(one) != digest(other)


def test_a_text_has_the_same_tokens_alone_and_among_others(reading, glosses):
    many = samples(*ODD, *glosses[:1200])
    together = texts.numbers(many, reading)
    for place in (*range(len(ODD)), 700, 1205):
        alone = texts.numbers(many[place : place + 1], reading)[0]
        assert together[place][: len(alone)].tolist() == alone.tolist()
        assert not together[place][len(alone) :].any()
    assert together.shape[1] == 40  # the first so many of the longest
    assert together.max() < reading["vocabulary"]
    assert (together[[1, 2, 6]] > 0).any(axis=1).all()  # every script has tokens


def test_hashed_n_grams_are_of_words_and_of_characters_within_them():
    reading = texts.own(samples("x"), "hashed", Student(vocabulary=1 << 20))
    cat, cats, other, two, upper = texts.numbers(samples("cat", "cats", "dog", "cat dog", "CAT  dog!"), reading)
    parts = {place: set(row[row > 0].tolist()) for place, row in enumerate((cat, cats, other, two, upper))}
    # " ca", "cat", "at ", " cat", "cat ", " cat ", and the word
    assert len(parts[0]) == 7
    assert {len(parts[0] & parts[1]), len(parts[0] & parts[2])} == {3, 0}  # " ca", "cat" and " cat"
    assert len(parts[3] - parts[0] - parts[2]) == 1  # the pair of words
    assert parts[3] < parts[4]


def test_byte_pairs_are_the_same_in_every_process(glosses):
    code = (
        "import hashlib, json; from tuition.inputs import texts; from tuition.params import Data, Student; "
        "from tuition.sources.wordnet import load_wordnet; "
        "pool = load_wordnet('', Data(source='wordnet')).parts['train'].images[:2000]; "
        "print(hashlib.sha256(json.dumps(texts.own(pool, 'bpe', Student())).encode()).hexdigest())"
    )
    own = texts.own(glosses, "bpe", Student())
    assert own["vocabulary"] > 2000
    for threads in ("1", "4"):
        said = subprocess.run(
            [sys.executable, "-c", code],
            env={"PATH": "", "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert said.strip() == hashlib.sha256(json.dumps(own).encode()).hexdigest()


def test_a_batch_is_as_wide_as_its_longest_text_and_the_same_for_the_same_step(reading, glosses):
    placed = texts.place(glosses, torch.device("cpu"), reading, None)
    index = torch.tensor([5, 3, 1999, 5])
    found = placed.batch(index, torch.Generator())
    assert found.tolist() == texts.numbers(glosses[index.numpy()], reading).tolist()
    assert placed.stored.tolist() == texts.numbers(glosses, reading).tolist()

    dropping = texts.place(glosses, torch.device("cpu"), reading, Training(token_dropout=0.3))
    every = torch.arange(len(glosses))
    one, other, third = (dropping.batch(every, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    whole = placed.batch(every, torch.Generator())
    assert ((one == whole) | (one == 0)).all()
    left = (one > 0).sum() / (whole > 0).sum()
    assert 0.68 < left < 0.72


def test_spans_are_left_out_three_tokens_in_a_row_as_often_at_the_ends_as_within():
    long = samples(*["x" * 5000] * 300)
    reading = texts.own(long, "hashed", Student(max_tokens=40))
    masked = texts.place(long, torch.device("cpu"), reading, Training(span_masking=0.3))
    every = torch.arange(len(long))
    one, other = (masked.batch(every, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, other)
    out = one.eq(0)
    for part in (out, out[:, :2], out[:, -2:]):
        assert 0.25 < part.float().mean() < 0.35
    # A token left out stands beside another one: runs begin at the edges with one or two of their three tokens.
    alone = out[:, 1:-1] & ~out[:, :-2] & ~out[:, 2:]
    assert not alone.any()


def test_columns_in_which_no_text_has_a_token_are_cut():
    tokens = torch.tensor([[3, 0, 4, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.int32)
    assert texts.arranged(tokens).tolist() == [[3, 0, 4], [1, 0, 0]]
    assert texts.arranged(torch.zeros(2, 5)).shape == (2, 1)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "text 0: empty"),
        (["a", " \n"], "text 1: holds nothing but white space"),
        ([b"a"], "text 0: found bytes"),
        ("a\udcff", "half a character"),
    ],
)
def test_what_a_client_sends_that_is_no_text_is_told(given, told):
    with pytest.raises(ValueError, match=told):
        tuition_texts.stored(given)


def test_features_that_cost_nothing_bring_like_texts_together(glosses):
    found = texts.features(samples("a red apple", "red apples", "the theory of numbers", ""))
    assert found.shape == (4, 512)
    assert found[0] @ found[1] > 0.4 > found[0] @ found[2] + 0.2
    assert not found[3].any()
