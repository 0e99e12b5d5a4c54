"""A cap on money over a chat model that charges by the token: used up, and never passed, whatever the lengths of texts."""

import json
import random

import pytest
from support.loopback import Server, whole
from tokenizers import Tokenizer

from tuition.errors import UserError
from tuition.files import write_json
from tuition.inputs import texts
from tuition.ledger import accounts, owned
from tuition.ledger.database import open_ledger
from tuition.ledger.keys import Request
from tuition.ledger.spending import CapReached
from tuition.origins import objects
from tuition.params import Data, Student
from tuition.params.teacher import OpenAISettings
from tuition.purchase import account
from tuition.purchase.own import own
from tuition.sources.wordnet import load_wordnet
from tuition.teachers.formats.openai import OpenAIFormat
from tuition.teachers.http.teacher import HttpTeacher

FACTS = {"classes": ["good", "bad"], "inputs": "texts", "characters": [1, 40_000]}
AROUND = 23  # tokens that this server's chat template adds
PRICE = {"input": 4.0, "output": 16.0}


@pytest.fixture(scope="module")
def glosses():
    return load_wordnet("", Data(source="wordnet")).parts["train"].images[:2000]


@pytest.fixture(scope="module")
def tokenizer(glosses, tmp_path_factory):
    """The file of the model's tokenizer, which cuts texts short, as files of models may say."""
    made = Tokenizer.from_str(texts.own(glosses, "bpe", Student(vocabulary=2000))["tokenizer"])
    made.enable_truncation(512)
    path = tmp_path_factory.mktemp("model") / "tokenizer.json"
    made.save(str(path))
    return path


@pytest.fixture(scope="module")
def samples(glosses):
    """600 texts of some 5 to 6,000 tokens, short ones as often as long ones."""
    draw, words = random.Random(0), " ".join(glosses).split()
    made = []
    for number in range(600):
        count, first = int(3 * 1200 ** draw.random()), draw.randrange(10_000)
        made.append(" ".join([*words[first : first + count], str(number)]))
    return objects(made)


class Bill:
    """A chat model that counts tokens itself and charges for them: `cost` in millionths."""

    def __init__(self, tokenizer, around=AROUND):
        self.tokenizer, self.around, self.tokens, self.cost = Tokenizer.from_file(str(tokenizer)), around, [], 0.0
        self.tokenizer.no_truncation()

    async def __call__(self, server, request, writer):
        asked = json.loads(request.body)["messages"][0]["content"]
        into = len(self.tokenizer.encode(asked).ids) + self.around
        self.tokens.append(into)
        self.cost += into * PRICE["input"] + 2 * PRICE["output"]
        said = "good" if int(asked.rsplit(" ", 1)[1]) % 3 else "bad"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": into, "completion_tokens": 2}
        body = {"object": "chat.completion", "model": "seer", "choices": [choice], "usage": usage}
        writer.write(whole(json.dumps(body).encode()))


def buy(bill, samples, **more):
    """Buy the texts in their order, from a server with this bill; returns the ledger's status of the account."""
    ledger = open_ledger()
    with Server() as server:
        server.script.extend([bill] * len(samples))
        server.probes.append(models)
        asked = {"url": f"{server.url}/v1", "model": "seer", "answers": "label", "batch_size": 1, "price": PRICE}
        asked["options"] = {"prompt": "{labels}?"}
        settings = OpenAISettings(**asked | more)
        teacher = HttpTeacher(OpenAIFormat(settings, FACTS), settings)
        opened = account.open_account(ledger, teacher, settings, 2, len(samples))
        of = {Request(texts.content_id(text)): text for text in samples}
        standing = owned.standing(ledger, opened.id, list(of))
        try:
            own(opened, list(of), standing, lambda some: objects([of[one] for one in some]), "test")
        finally:
            assert accounts.verify(ledger) == []
            status = accounts.status(ledger)[0]
            ledger.close()
            assert round(status["cost"] * 1e6) == round(bill.cost)  # nothing was paid that is not booked
    return status


async def models(server, request, writer):
    writer.write(whole(b'{"data": [{"id": "seer"}]}'))


def test_a_cap_on_money_is_used_up_and_never_passed(samples, tokenizer, capsys):
    bill = Bill(tokenizer)
    with pytest.raises(CapReached, match=r"teacher.cap.money: \S+ spent of 1 in its life, and a call may cost"):
        buy(bill, samples, tokenizer=str(tokenizer), cap={"money": 1.0})
    least, most = min(bill.tokens), max(bill.tokens)
    with capsys.disabled():
        print(f"\n{len(bill.tokens)} texts of {least} to {most} tokens: {bill.cost / 1e6:.4f} of 1.00 spent")
    assert least < 60
    assert most > 3500
    assert 970_000 <= bill.cost <= 1_000_000


def test_of_long_texts_no_more_is_paid_than_is_sent(samples, tokenizer):
    bill = Bill(tokenizer)
    of_texts = objects([f"{text} {'word ' * 900}{place}" for place, text in enumerate(samples[:12])])
    # All are bought for less than two whole ones would cost.
    cut = {"max_text_tokens": 60, "text_cut": "middle", "tokenizer": str(tokenizer)}
    status = buy(bill, of_texts, **cut, cap={"money": 0.0072}, max_in_flight=1)
    assert len(bill.tokens) == 12
    assert max(bill.tokens) < 60 + 20 + AROUND
    assert 0.002 < status["cost"] < 0.0072


def test_without_a_tokenizer_bytes_are_the_bound(samples, tokenizer):
    bill = Bill(tokenizer)
    with pytest.raises(CapReached, match=r"teacher.cap.money"):
        buy(bill, samples[:60], cap={"money": 0.1})
    assert 0 < bill.cost <= 100_000


def test_a_server_that_adds_more_than_it_may_stops_the_purchase_at_its_first_answer(samples, tokenizer):
    bill, more = Bill(tokenizer, around=500), {"tokenizer": str(tokenizer), "cap": {"money": 1.0}}
    with pytest.raises(UserError, match=r"teacher.added_tokens: \d+ tokens were held back for a call"):
        buy(bill, samples[:20], **more)
    assert len(bill.tokens) == 1
    buy(bill, samples[:20], **more, added_tokens=500)  # what is owned is not paid again
    assert len(bill.tokens) == 20


def test_a_tokenizer_that_is_none_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "config.json", {"model_type": "bert"})
    for name, told in (("config.json", "not a tokenizer.json"), ("none.json", "no such file")):
        settings = OpenAISettings(url="http://x/v1", model="m", answers="label", batch_size=1, tokenizer=name)
        with pytest.raises(UserError, match=f"teacher.tokenizer: {name}: {told}"):
            OpenAIFormat(settings, FACTS)
