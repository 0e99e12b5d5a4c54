"""kind `openai` against llama.cpp's own server, in an environment of its own.

The server is the real one, with its image decoder, tokens, log-probabilities, keys and usage; the model behind it is tiny and random,
made by `servers/llama_server.py`, so nothing is downloaded but packages. OpenAI's own client, in the same environment, asks the same.
"""

import asyncio
import hashlib
import json
import subprocess

import numpy as np
import pytest
from PIL import Image
from support.environments import SERVERS, environment, free_ports, running

from tuition.errors import UserError
from tuition.params.teacher import teacher_settings
from tuition.teachers import Stop, load_teacher

pytestmark = pytest.mark.slow
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
DATA = {"channels": 3, "height": 28, "width": 28, "classes": NAMES, "mean": [0.5] * 3, "std": [0.2] * 3}
KEY = "planted-c0ffee"
MEANING = {
    "cat": "cat",
    " cat": "cat",
    "Cat": "cat",
    "dog": "dog",
    "hor": "horse",
    "ship": "ship",
    "bi": "bird",
    "tr": "truck",
    "frog": "frog",
}
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 3, 28, 28), dtype=np.uint8)


@pytest.fixture(scope="session")
def llama(tmp_path_factory):
    folder, (port,) = tmp_path_factory.mktemp("llama"), free_ports(1)
    command = [environment("llama"), SERVERS / "llama_server.py", folder, port, KEY]
    with running(command, f"http://127.0.0.1:{port}/health", folder):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)


def teacher(url: str, data: dict = DATA, settings: dict | None = None, **options):
    given = {"kind": "openai", "url": url, "model": "tiny", "batch_size": 1, "api_key_env": "MY_KEY", "patience": 20.0}
    return load_teacher(teacher_settings(**{**given, **(settings or {})}, options=options), data)


def ask(one, images: np.ndarray = IMAGES) -> list:
    keys = [hashlib.sha256(image.tobytes()).hexdigest()[:32] for image in images]

    async def asking():
        async with one:
            return await asyncio.gather(
                *(one.answer(image[None], [key]) for image, key in zip(images, keys, strict=True))
            )

    return asyncio.run(asking())


def logits(replies: list) -> np.ndarray:
    assert [reply.malformed for reply in replies] == [None] * len(replies)
    return np.concatenate([reply.signals["logits"] for reply in replies])


@pytest.fixture(scope="session")
def told(llama, tmp_path_factory) -> list[dict]:
    """What OpenAI's own client is told of the same images under the same prompt."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(IMAGES):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{number:02}.png")
    prompt = load_teacher(teacher_settings(kind="openai", url=llama, model="tiny", batch_size=1), DATA).format.prompt
    command = [
        environment("llama"),
        SERVERS / "openai_client.py",
        llama,
        KEY,
        "tiny",
        prompt,
        *sorted(folder.iterdir()),
    ]
    ran = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def by_hand(top: list) -> np.ndarray:
    """Log-probabilities of the classes from the tokens named, by a table of which token is which class."""
    shares = {name: 0.0 for name in NAMES}
    for token, logprob in top:
        if token in MEANING:
            shares[MEANING[token]] += np.exp(logprob)
    missing = [name for name in NAMES if shares[name] == 0]
    floor = min(
        min(np.exp(logprob) for _, logprob in top), (1 - sum(np.exp(logprob) for _, logprob in top)) / len(missing)
    )
    shares |= dict.fromkeys(missing, floor)
    return np.log([shares[name] / sum(shares.values()) for name in NAMES])


def test_scores_are_those_of_the_tokens_that_openais_client_is_told(llama, told):
    """Asked several at a time, so that the server computes them together: equal up to its rounding."""
    replies = ask(teacher(llama))
    found = logits(replies)
    assert found.shape == (12, 10)
    np.testing.assert_allclose(found, [by_hand(one["top"]) for one in told], atol=2e-3)
    assert [[reply.input_tokens, reply.output_tokens] for reply in replies] == [one["tokens"] for one in told]
    np.testing.assert_allclose(np.exp(found.astype(np.float64)).sum(axis=1), 1, rtol=1e-5)


def test_what_is_seen_decides(llama):
    """Other pixels give other scores, the same pixels the same ones, whatever was asked between."""
    found = logits(ask(teacher(llama), IMAGES[[0, 1, 0, 2, 0]]))
    np.testing.assert_allclose(found[[2, 4]], found[[0, 0]], atol=2e-3)
    assert np.abs(found[[1, 3]] - found[0]).max(axis=1).min() > 0.05


def test_greyscale_images_and_other_labels(llama):
    labels = ["cat", "dog", "horse", "ship", "bird", "truck", "frog", "xx", "yy", "zz"]
    one = teacher(
        llama, {**DATA, "channels": 1}, labels=labels, prompt="{labels}?", max_completion_tokens=1, extra={"seed": 1}
    )
    found = logits(ask(one, IMAGES[:4, :1]))
    assert (found[:, :7].max(axis=1) > found[:, 7:].max(axis=1)).all()
    assert (found[:, 7:] == found[:, 7:8]).all()


def test_text_in_place_of_the_image(llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words_of.py").write_text("def words(image): return ' '.join(str(v) for v in image[0, 0, :5])\n")
    found = logits(ask(teacher(llama, content="text", text="words_of:words"), IMAGES[:3]))
    assert len(np.unique(found.round(3), axis=0)) == 3


def test_an_answer_whose_tokens_are_no_labels_is_not_used(llama):
    labels = [f"{number}{number}" for number in range(10)]
    for reply in ask(teacher(llama, labels=labels), IMAGES[:2]):
        assert reply.malformed.startswith("no label among the tokens of the answer")
        assert "teacher.options.labels" in reply.malformed
        assert reply.input_tokens > 0
        assert b"top_logprobs" in reply.raw


def test_an_answer_without_logprobs_is_not_used(llama):
    """A server that is asked for none gives none: what it is asked for is taken out of a question that is otherwise ours."""
    one = teacher(llama)

    async def asking():
        async with one:
            asked = one.format.request(IMAGES[:1], ["00aa"])
            question = {key: value for key, value in json.loads(asked.content).items() if "logprobs" not in key}
            answered = await one.client.transport.send("POST", asked.path, json.dumps(question).encode(), asked.headers)
            return one.format.read(answered.body, answered.headers, ["00aa"])

    assert "no logprobs beside the answer" in asyncio.run(asking()).malformed


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"model": "gpt-9"}, "", r"teacher\.model: 'gpt-9' is not known.*Valid: tiny"),
        ({}, "/elsewhere", r"teacher\.url"),
    ],
)
def test_what_cannot_succeed_stops_before_a_call(llama, settings, path, words):
    with pytest.raises(Stop, match=words):
        ask(teacher(llama + path, settings=settings), IMAGES[:1])


def test_a_wrong_key_stops(llama, monkeypatch):
    """llama.cpp lists its models to everybody, but answers only who has the key."""
    monkeypatch.setenv("MY_KEY", "another")
    with pytest.raises(Stop, match=r"teacher\.api_key_env: .*MY_KEY") as stopped:
        ask(teacher(llama), IMAGES[:1])
    assert "another" not in str(stopped.value)


def test_several_images_a_request_are_refused(llama):
    with pytest.raises(UserError, match=r"teacher\.batch_size: found 4"):
        teacher(llama, settings={"batch_size": 4})
