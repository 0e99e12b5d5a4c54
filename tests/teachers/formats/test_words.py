"""A chat model's words as answers, a label as text or as JSON: what is asked, what is read, and what is malformed and why."""

import asyncio
import json

import numpy as np
import pytest
from support.loopback import Server, status
from test_openai_format import DATA, IMAGE, NAMES, form, question

from tuition.errors import UserError
from tuition.params.teacher import teacher_settings
from tuition.targets.classes import complete
from tuition.teachers import load_teacher

SURE = {"cat": 0.7, "dog": 0.2, "horse": 0.1, "ship": 0.0}


def spoken(content, finish="stop", **message) -> bytes:
    said = {"role": "assistant", "content": content, "refusal": None, **message}
    choice = {"index": 0, "finish_reason": finish, "message": said}
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 90, "completion_tokens": 7}}).encode()


def reads(answers, content, **more):
    options = {"scores": True} if more.pop("scores", False) else {}
    return form({"answers": answers}, **options).read(spoken(content, **more), {}, ["00aa"])


def test_questions_ask_for_words_and_json_by_a_schema_of_the_labels():
    plain = question(form({"answers": "label"}))
    assert not {"logprobs", "top_logprobs", "response_format"} & set(plain)
    assert plain["max_tokens"] == 64
    asked = question(form({"answers": "json"}, scores=True, labels=["c", "ca", "h", "s"], extra={"seed": 1}))
    schema = asked["response_format"]["json_schema"]
    assert (asked["response_format"]["type"], schema["strict"], asked["seed"]) == ("json_schema", True, 1)
    assert schema["schema"]["properties"]["label"]["enum"] == ["c", "ca", "h", "s"]  # one may begin another here
    assert schema["schema"]["properties"]["scores"]["required"] == ["c", "ca", "h", "s"]
    assert schema["schema"]["required"] == ["label", "scores"]


@pytest.mark.parametrize("said", ["dog", " Dog.\n", [{"type": "text", "text": "**dog**"}]])
def test_a_label_as_text(said):
    reply = reads("label", said)
    assert (reply.signals["label"].tolist(), reply.input_tokens, reply.output_tokens) == ([1], 90, 7)


@pytest.mark.parametrize("said", ['{"label": "dog"}', '```json\n{"label": "Dog", "why": "ears"}\n```'])
def test_a_label_as_json(said):
    assert reads("json", said).signals["label"].tolist() == [1]


def test_scores_as_json_are_log_probabilities_and_those_left_out_are_unknown():
    signals = reads("json", json.dumps({"label": "cat", "scores": SURE}), scores=True).signals
    assert signals["label"].tolist() == [0]
    np.testing.assert_allclose(np.exp(signals["logits"][0]), [*SURE.values()], atol=1e-6)
    some = reads("json", '{"label": "dog", "scores": {"dog": 0.6}}', scores=True).signals["logits"]
    assert np.isnan(some).sum() == 3
    np.testing.assert_allclose(np.exp(complete(some))[0], [0.4 / 3, 0.6, 0.4 / 3, 0.4 / 3], rtol=1e-5)
    rounded = reads("json", json.dumps({"label": "cat", "scores": {**SURE, "cat": 0.75}}), scores=True).signals
    assert np.exp(rounded["logits"]).sum() == pytest.approx(1, abs=1e-5)


MALFORMED = [
    ("label", "a bird", {}, "'a bird' is no class; valid: 'cat', 'dog', 'horse', 'ship'"),
    ("label", "cat or dog", {}, "'cat or dog' is no class"),
    ("label", "", {}, "no words in the answer"),
    ("label", None, {"refusal": "I cannot"}, "the model refused: 'I cannot'"),
    ("label", "The ani", {"finish": "length"}, "cut off at its longest: 'The ani'; raise teacher.options.max_tokens"),
    ("json", "dog", {}, "'dog' is no JSON"),
    ("json", "[1]", {}, "'[1]' is no JSON object"),
    ("json", '{"class": "dog"}', {}, "no label in"),
    ("json", '{"label": 1}', {}, "no label in"),
    ("json", '{"label": "bird"}', {}, "'bird' is no class"),
    ("json", '{"label": "dog"}', {"scores": True}, "no scores in"),
    ("json", '{"label": "dog", "scores": {"dog": 1.5}}', {"scores": True}, "'dog' has 1.5; expected a probability"),
    ("json", '{"label": "dog", "scores": {"dog": NaN}}', {"scores": True}, "'dog' has nan"),
    ("json", '{"label": "dog", "scores": {"dog": 0.9, "cow": 0.1}}', {"scores": True}, "'cow' is no class"),
    ("json", '{"label": "dog", "scores": {"dog": 0.2, "cat": 0.8}}', {"scores": True}, "'cat' has the highest score"),
    ("json", json.dumps({"label": "cat", "scores": dict.fromkeys(NAMES, 0.9)}), {"scores": True}, "sum to 3.6"),
]


@pytest.mark.parametrize(("answers", "content", "more", "text"), MALFORMED)
def test_what_is_no_answer_is_malformed_and_kept(answers, content, more, text):
    reply = reads(answers, content, **more)
    assert text in str(reply.malformed)
    assert content is None or json.dumps(content).encode() in reply.raw
    assert (reply.signals, reply.output_tokens) == ({}, 7)


def test_what_cannot_be_asked_is_refused():
    with pytest.raises(UserError, match=r"options\.scores: true, but teacher\.answers is label"):
        form({"answers": "label"}, scores=True)
    with pytest.raises(UserError, match=r"options\.labels: 'CAT' may be any of|two that are the same"):
        form({"answers": "label"}, labels=["cat", "cat", "horse", "ship"])


def test_the_fingerprint_of_log_probabilities_is_what_it_was():
    assert form().options() == form({"answers": "logprobs"}).options()
    assert not {"answers", "scores"} & set(form().options())
    words = form({"answers": "json"}).options()
    assert (words["answers"], words["scores"], "top_logprobs" in words) == ("json", False, False)


def test_over_http():
    with Server() as server:
        server.probes.append(status(200, json.dumps({"data": [{"id": "seer"}]}).encode()))
        server.script.extend([status(200, spoken(said)) for said in ("Ship.", "no idea")])
        given = {"kind": "openai", "url": f"{server.url}/v1", "model": "seer", "batch_size": 1, "answers": "label"}
        teacher = load_teacher(teacher_settings(**given), DATA)

        async def ask():
            async with teacher:
                return [await teacher.answer(IMAGE, [key]) for key in ("00aa", "00ab")]

        first, second = asyncio.run(ask())
        assert (teacher.families, first.signals["label"].tolist()) == (("label",), [3])
        assert "'no idea' is no class" in second.malformed
        assert json.loads(server.received[0].body)["max_tokens"] == 64
