"""Embeddings over HTTP in OpenAI's format, of a real server of a real (tiny) encoder; and answers that are none."""

import asyncio
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from tuition.errors import UserError
from tuition.params.teacher import teacher_settings
from tuition.purchase.answers import split
from tuition.teachers import Stop, load_teacher
from tuition.teachers.formats.embeddings import EmbeddingsFormat
from tuition.teachers.sentence import open_encoder

DATA = {"inputs": "texts", "classes": [], "characters": [1, 100]}


@contextmanager
def serving(vectors):
    """The address of a server that answers with `vectors(texts)`, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.say({"data": [{"id": "tiny"}]})

        def do_POST(self):
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, question))
            found = vectors(question["input"])[:, : question.get("dimensions")]
            rows = [{"index": place, "embedding": row.tolist()} for place, row in enumerate(found)]
            words = sum(len(text.split()) for text in question["input"])
            usage = {"prompt_tokens": words, "total_tokens": words}
            self.say({"data": rows[::-1], "model": "tiny-2", "usage": usage})  # in another order: places are named

        def say(self, answer):
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *said): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings(url="http://127.0.0.1:1/v1", **more):
    return teacher_settings(kind="openai", url=url, answers="embedding", **{"model": "tiny", **more})


def ask(teacher, texts):
    async def run():
        async with teacher:
            return await teacher.answer(texts, [f"{place:032x}" for place in range(len(texts))])

    return asyncio.run(run())


def test_a_server_is_asked_for_many_texts_at_once_and_answers_find_their_places(encoder, glosses):
    vectors = open_encoder(str(encoder), "here").vectors
    with serving(vectors) as (url, asked):
        teacher = load_teacher(settings(url), DATA)
        assert teacher.families == ("embedding",)
        reply = ask(teacher, glosses[:6])
        short = ask(load_teacher(settings(url, options={"dimensions": 8, "extra": {"user": "me"}}), DATA), glosses[:2])
    np.testing.assert_allclose(reply.signals["embedding"], vectors(list(glosses[:6])), atol=1e-5)
    assert reply.input_tokens == sum(len(text.split()) for text in glosses[:6])
    assert reply.identity.model == "tiny-2"
    assert short.signals["embedding"].shape == (2, 8)
    assert [path for path, _ in asked] == ["/v1/embeddings"] * 2
    assert asked[0][1] == {"model": "tiny", "input": glosses[:6].tolist(), "encoding_format": "float"}
    assert asked[1][1]["user"] == "me"
    usable = split(reply.signals, 6, ("embedding",), 0, {})
    assert all(one.usable for one in usable)


def test_a_model_that_the_server_lacks_is_told_before_the_first_call(encoder):
    with serving(None) as (url, asked), pytest.raises(Stop, match=r"teacher.model: 'other' is not known. Valid: tiny"):
        ask(load_teacher(settings(url, model="other"), DATA), np.array(["a"], dtype=object))
    assert not asked


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"data": [{"index": 0, "embedding": [1, 2]}]}, "1 embeddings with places [0] for 2 texts"),
        ({"data": [{"index": 0, "embedding": [1, 2]}] * 2}, "2 embeddings with places [0] for 2 texts"),
        (
            {"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1, 2, 3]}]},
            "of several widths ([2, 3])",
        ),
        ({"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [2]}]}, "found shape (2, 1)"),
        ({"data": [{"index": 0, "embedding": "AAAA"}, {"index": 1, "embedding": "AAAA"}]}, "not numbers"),
        ({"error": {"message": "too long"}}, "no embeddings: \"{'message': 'too long'}\""),
        ({"data": None}, "no embeddings"),
    ],
)
def test_what_is_no_list_of_embeddings_is_kept_with_its_reason(answer, why):
    reply = EmbeddingsFormat(settings(), DATA).read(json.dumps(answer).encode(), {}, ["a", "b"])
    assert why in reply.malformed
    assert not reply.signals
    cut = EmbeddingsFormat(settings(), DATA).read(json.dumps(answer).encode()[:-3], {}, ["a", "b"])
    assert cut.spoilt


def test_what_such_a_server_cannot_be_asked_is_refused():
    with pytest.raises(UserError, match="ends in /embeddings"):
        EmbeddingsFormat(settings("http://127.0.0.1:1/v1/embeddings"), DATA)
    with pytest.raises(UserError, match="is of texts, but the samples are images"):
        EmbeddingsFormat(settings(), {"classes": []})
    with pytest.raises(UserError, match=r"teacher.options.extra: input: set by this kind itself"):
        EmbeddingsFormat(settings(options={"extra": {"input": []}}), DATA)
    with pytest.raises(
        UserError, match=r"teacher\.max_text_tokens: found 9, but texts that are embedded are sent whole"
    ):
        EmbeddingsFormat(settings(max_text_tokens=9), DATA)
    with pytest.raises(UserError, match="prompt"):
        EmbeddingsFormat(settings(options={"prompt": "?"}), DATA)
    described = load_teacher(settings(), DATA).description
    assert described["options"]["answers"] == "embedding"
