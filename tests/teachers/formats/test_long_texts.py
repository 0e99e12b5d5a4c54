"""Long texts are cut before a chat model is asked about them: by its tokens, or by bytes; at their end, or in their middle."""

import json

import pytest
from tokenizers import Tokenizer

from tuition.errors import UserError
from tuition.inputs import texts
from tuition.origins import objects
from tuition.params import Student
from tuition.params.teacher import OpenAISettings
from tuition.teachers import fingerprint, load_teacher
from tuition.teachers.formats.long_texts import GAP
from tuition.teachers.formats.openai import OpenAIFormat

FACTS = {"classes": ["good", "bad"], "inputs": "texts", "characters": [1, 40_000]}


@pytest.fixture(scope="module")
def tokenizer(glosses, tmp_path_factory):
    """The file of a model's tokenizer of pairs of bytes: some characters are several tokens."""
    made = Tokenizer.from_str(texts.own(glosses, "bpe", Student(vocabulary=600))["tokenizer"])
    path = tmp_path_factory.mktemp("model") / "tokenizer.json"
    made.save(str(path))
    return str(path)


def settings(**more):
    options = {"prompt": "{labels}? {text}"}
    return OpenAISettings(url="http://x/v1", model="m", answers="label", batch_size=1, options=options, **more)


def sent(text, **more):
    made = OpenAIFormat(settings(**more), FACTS)
    body = json.loads(made.request(objects([text]), ["00"]).content)
    content = body["messages"][0]["content"]
    assert content.startswith("good, bad? ")
    # What is held back for a call is counted of what is sent.
    whole = OpenAIFormat(settings(tokenizer=more.get("tokenizer")), FACTS)
    assert made.most_tokens(objects([text])) == whole.most_tokens(objects([content.removeprefix("good, bad? ")]))
    return content.removeprefix("good, bad? ")


@pytest.mark.parametrize("most", [2, 7, 40])
def test_by_tokens_a_text_keeps_its_beginning_or_also_its_end(glosses, tokenizer, most):
    count = Tokenizer.from_file(tokenizer)
    for text in (" ".join(glosses[:5]), "🙂🙃 e\u0301é " * 30, glosses[0]):
        length = len(count.encode(text).ids)
        head = sent(text, tokenizer=tokenizer, max_text_tokens=most)
        assert text.startswith(head)
        assert head == text if length <= most else most <= len(count.encode(head).ids) + 3  # of one character
        ends = sent(text, tokenizer=tokenizer, max_text_tokens=most, text_cut="middle")
        if length > most:
            first, last = ends.split(GAP)
            assert text.startswith(first)
            assert text.endswith(last)
            assert len(first) + len(last) < len(text)
            assert "�" not in first + last
        else:
            assert ends == text


def test_without_a_tokenizer_bytes_are_counted_and_no_character_is_cut():
    assert sent("ab🙂cd", max_text_tokens=6) == "ab🙂"
    assert sent("ab🙂cd", max_text_tokens=5) == "ab"
    assert sent("ab🙂cd", max_text_tokens=8) == "ab🙂cd"
    assert sent("🙂bcdef🙂", max_text_tokens=9, text_cut="middle") == f"🙂b{GAP}🙂"
    assert sent("🙂bcdefg🙂", max_text_tokens=6, text_cut="middle") == GAP  # three bytes of each are no character


def test_the_cut_is_part_of_what_the_teacher_is(tokenizer):
    def known(**more):
        return fingerprint(load_teacher(settings(**more), FACTS).description)

    whole = known()
    assert known(tokenizer=tokenizer) == whole  # it only counts then
    others = [
        known(max_text_tokens=9),
        known(max_text_tokens=10),
        known(max_text_tokens=9, text_cut="middle"),
        known(max_text_tokens=9, tokenizer=tokenizer),
    ]
    assert len({whole, *others}) == 5


def test_how_many_are_cut_is_known(glosses, tokenizer):
    count = Tokenizer.from_file(tokenizer)
    teacher = load_teacher(settings(max_text_tokens=30, tokenizer=tokenizer), FACTS)
    assert teacher.shortened(glosses) == sum(len(count.encode(text).ids) > 30 for text in glosses) > 20
    assert load_teacher(settings(), FACTS).shortened(glosses) == 0


def test_a_middle_of_nothing_is_refused():
    for more in ({}, {"max_text_tokens": 1}):
        with pytest.raises(UserError, match=r"teacher\.text_cut: found middle with teacher\.max_text_tokens: (1|null)"):
            OpenAIFormat(settings(text_cut="middle", **more), FACTS)
