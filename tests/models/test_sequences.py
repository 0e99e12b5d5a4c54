"""Prompts and texts as tokens."""

import pytest

from tuition.errors import UserError
from tuition.models.sequences import END, PAD, SPECIAL, TEXT, Sequences, lay_out, learn

TEXTS = ["a young dog", "a young cat", "the sound of a dog", "schöne Grüße"] * 3


@pytest.fixture(scope="module")
def sequences():
    return Sequences(learn(TEXTS, 300), 24)


def test_texts_come_back_whatever_they_hold(sequences):
    odd = [*TEXTS[:4], "日本 🙂", f"not {SPECIAL[END]} the end {SPECIAL[TEXT]}", "two  spaces"]
    tokens = sequences.texts(odd)
    assert [sequences.text_of(ids) for ids in tokens] == odd
    assert all(ids[-1] == END and min(ids[:-1]) > END for ids in tokens)
    assert all(ids[-1] == TEXT for ids in sequences.prompts(TEXTS, "here"))
    assert learn(TEXTS, 300) == sequences.tokenizer


def test_a_prompt_that_leaves_no_room_is_refused(sequences):
    with pytest.raises(UserError, match=r"here: 1 of 2 prompts leave no room .* number 1 .* context is 24 tokens"):
        sequences.prompts(["dog", "x y z " * 20], "here")


def test_a_layout_says_where_each_token_is_told():
    made = lay_out([[7, TEXT], [8, 9, TEXT]], [[5, 6, END], [5, END]], 5)
    assert made.tokens.tolist() == [[7, TEXT, 5, 6, END], [8, 9, TEXT, 5, END]]
    assert made.targets.tolist() == [5, 6, END, 5, END]
    assert made.places.tolist() == [1, 2, 3, 5 + 2, 5 + 3]
    assert made.owner.tolist() == [0, 0, 0, 1, 1]
    assert made.number.tolist() == [0, 1, 2, 0, 1]
    cut = lay_out([[7, TEXT], [8]], [[5, 6, END], [5]], 3)
    assert cut.tokens.tolist() == [[7, TEXT, 5], [8, 5, PAD]]
    assert cut.targets.tolist() == [5, 5]
