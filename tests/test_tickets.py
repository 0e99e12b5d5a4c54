"""The commands of docs/texts.md, from a table without labels and a language model to a registered classifier."""

import csv
import json
import random

import pytest
from support import ROOT, readme
from support.clones import clone, run
from support.loopback import Server, whole

from tuition.files import read_json
from tuition.params import Data
from tuition.sources.wordnet import load_wordnet
from tuition.tables import read_rows

__all__ = ["clone"]
CLASSES = ["animal", "person", "plant"]
PRICE, BUDGET = {"input": 0.15, "output": 0.6}, 500
MINE = ["--seeds", "1", "--set", "train.steps=150", "--set", "train.batch_size=32"]


async def models(server, request, writer):
    writer.write(whole(b'{"data": [{"id": "a-model"}]}'))


class Chat:
    """A language model that is right on nine texts of ten, and charges by the token: here a word."""

    def __init__(self, truth):
        self.truth = truth

    async def __call__(self, server, request, writer):
        asked = json.loads(request.body)["messages"][0]["content"]
        server.processed.append(asked)
        said = self.truth[asked.partition("\n\n")[2]] if len(server.processed) % 10 else "person"
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": len(asked.split()), "completion_tokens": 1}
        writer.write(whole(json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()))


def write_files(folder):
    """A user's files: 560 texts without labels, 140 others with them, and a new one. Returns the class of each text."""
    raw = load_wordnet("", Data(source="wordnet"))
    part = raw.parts["train"]
    rows = [(text, raw.classes[label]) for text, label in zip(part.images, part.labels, strict=True)]
    rows = random.Random(0).sample([row for row in rows if row[1] in CLASSES], 700)
    for name, some in (("tickets", [(text,) for text, _ in rows[:560]]), ("labelled", rows[560:])):
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label")[: len(some[0])], *some])
    (folder / "new.csv").write_text('text\n"a ""large"" bird\nof prey"\n')
    return dict(rows)


@pytest.mark.slow
def test_from_a_table_to_a_classifier(clone):
    chat = Chat(write_files(clone))
    init, check, repro, one, table, export, _ = readme.commands("tuition init", (ROOT / "docs/texts.md").read_text())
    with Server() as server:
        server.script.extend([chat] * 600)
        server.probes.extend([models] * 20)
        run(clone, [word.replace("https://api.example.org", server.url) for word in init] + MINE)
        run(clone, check)
        assert server.processed == []
        run(clone, repro)
        asked = server.processed
        assert len(asked) == BUDGET
        assert len(set(asked)) == BUDGET - 1  # one is asked about twice: does the model repeat itself?
    spend = read_json(clone / f"outputs/{BUDGET}/spend.json")
    charged = sum(len(one.split()) * PRICE["input"] + PRICE["output"] for one in asked) / 1e6
    assert spend["cost"] == pytest.approx(charged, abs=BUDGET * 1e-6)  # each call is rounded up to a millionth
    figures = read_json(next((clone / "results").glob("*/metrics.json")))
    assert figures["top1"] > 0.5
    assert {"macro_f1", "worst_class_recall"} <= set(figures)
    assert "I was charged twice" in run(clone, one)
    run(clone, table)
    (row,) = read_rows(clone / "answers.csv")
    assert row["text"] == 'a "large" bird\nof prey'
    assert row["class"] in CLASSES
    said = run(clone, export)
    assert "largest difference of a probability to torch" in said
    assert json.loads((clone / "tickets.json").read_text())["classes"] == CLASSES
