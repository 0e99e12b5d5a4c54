"""A chat model behind HTTP is asked about texts as they are; what it says is owned, and never asked again."""

import csv
import json

import pytest
from support.loopback import Server, whole

from stages.prepare.__main__ import main as prepare
from stages.teach.__main__ import main as teach
from tuition.files import read_array, read_json
from tuition.inputs import texts
from tuition.workspace import Workspace

PARAMS = """
study: {{budgets: [12, 20], methods: [ce], seeds: [0]}}
data: {{source: "csv:texts.csv", columns: {{text: text}}}}
teacher:
  {{kind: openai, name: chat, url: "{url}/v1", model: seer, answers: label, batch_size: 1, max_in_flight: 4, patience: 5.0,
  options: {{prompt: "One of {{labels}}? <{{text}}>"}}}}
student: {{arch: ngram}}
methods: {{ce: {{}}}}
"""
ROWS = [(f'{word} "{n}",\nand 🙂', word) for n in range(30) for word in ("good", "bad")]


async def models(server, request, writer):
    writer.write(whole(b'{"data": [{"id": "seer"}]}'))


async def chat(server, request, writer):
    """Answers with the first word of the text, and keeps what was asked."""
    asked = json.loads(request.body)["messages"][0]["content"]
    server.processed.append(asked)
    said = asked.partition("<")[2].partition(" ")[0]
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 20, "completion_tokens": 1}
    writer.write(whole(json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()))


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open("texts.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])
    with Server() as one:
        one.script.extend([chat] * 100)
        one.probes.extend([models] * 10)
        (tmp_path / "params.yaml").write_text(PARAMS.format(url=one.url))
        prepare([])
        yield one


def test_each_text_is_asked_once(server):
    for budget in (12, 20, 20):
        teach([str(budget)])
    here = Workspace()
    bought = texts.read(here.split("train").path)[read_array(here.outputs(20).positions)]
    assert sorted(server.processed) == sorted(f"One of bad, good? <{text}>" for text in bought)
    classes, labels = read_json(here.data.meta)["classes"], read_array(here.outputs(20).signal("label"))
    assert [classes[label] for label in labels] == [text.partition(" ")[0] for text in bought]
