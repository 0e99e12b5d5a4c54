"""The teach stage with a teacher behind HTTP, as DVC runs it: what is asked, what is owned, and where the key is not."""

import re
import sys

import numpy as np
import pytest
from support import stage, write_params
from support.loopback import Server, status

from stages.teach.__main__ import main
from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger

SECRET = "s3cret-Key/with+odd=chars"
FORMAT = """
import json
import numpy as np
from tuition.teachers import HttpRequest, Reply

class Format:
    signals = ("logits",)
    def __init__(self, settings, data): pass
    def request(self, images, keys):
        sums = images.reshape(len(images), -1).sum(1, dtype=np.int64).tolist()
        return HttpRequest("/ask", json.dumps({"keys": list(keys), "sums": sums}).encode(), {})
    def read(self, body, headers, keys):
        try:
            answer = json.loads(body)
            return Reply({"logits": np.array(answer["scores"])}, output_tokens=answer["tokens"])
        except (ValueError, KeyError) as error:
            return Reply(malformed=repr(error), raw=body)
"""


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def served(workspace, server, monkeypatch):
    """A workspace whose teacher is the loopback server, and the function that runs its teach stage."""
    (workspace / "wire.py").write_text(FORMAT)
    monkeypatch.setenv("TEST_API_KEY", SECRET)

    def write(budget: int = 40, **changes) -> list[str]:
        keys = {
            "teacher.kind": "http",
            "teacher.url": server.url,
            "teacher.format": "wire:Format",
            "teacher.batch_size": 1,
            "teacher.api_key_env": "TEST_API_KEY",
            "teacher.max_in_flight": 8,
            "teacher.timeout": 5.0,
            "teacher.patience": 5.0,
            "teacher.price": {"call": 0.01, "output": 1000.0},
            "teacher.max_tokens_per_call": 10,
            "study.budgets": [budget],
        }
        write_params(workspace, {**keys, **changes})
        return [str(budget)]

    yield write
    sys.modules.pop("wire", None)


def test_a_budget_is_asked_once_and_a_bigger_one_asks_the_rest(served, server, workspace, capsys):
    main(served(40))
    assert len(server.processed) == len(set(server.processed)) == 40
    images = read_array(workspace / "data/train/images.npy")[read_array(workspace / "outputs/40/positions.npy")]
    sums = images.reshape(len(images), -1).sum(1, dtype=np.int64)
    assert np.array_equal(read_array(workspace / "outputs/40/logits.npy")[:, 0], sums.astype(np.float32))
    assert read_json(workspace / "spend/40.json")["cost"] == pytest.approx(40 * (0.01 + 7 * 0.001))  # 7 tokens a call

    main(served(40))
    assert "0 new calls" in capsys.readouterr().out
    main(served(60))
    assert len(server.processed) == len(set(server.processed)) == 60
    main(served(60, **{"teacher.url": f"{server.url}/"}))  # where it stands is not who it is
    assert len(server.processed) == 60
    assert accounts.status(open_ledger())[0]["tokens"] == 60 * 7


def test_the_key_is_sent_and_written_nowhere(served, server, workspace):
    async def echoes(server, request, writer) -> None:
        await status(401, f"no such key: {request.headers['authorization']}".encode())(server, request, writer)

    server.script.extend([status(429, SECRET.encode(), {"Retry-After": "0"}), status(500, SECRET.encode()), echoes])
    changes = {"teacher.canary": 1, "teacher.max_malformed": 0.5, "teacher.max_in_flight": 1}
    ran = [stage("teach", *served(40, **changes), cwd=workspace) for _ in range(2)]
    assert [one.returncode for one in ran] == [2, 0], ran[-1].stderr
    assert "api_key_env" in ran[0].stderr
    assert "1 × " in ran[1].stdout  # what became of the one that got 500
    assert {one.headers["authorization"] for one in server.received} == {f"Bearer {SECRET}"}
    assert all(SECRET not in one.stdout + one.stderr for one in ran)
    files = [path for path in workspace.rglob("*") if path.is_file()]
    assert any(path.name.startswith("ledger.db") for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_wrong_key_and_a_missing_one_stop_before_anything_is_paid(served, server, monkeypatch):
    server.script.extend([status(401)] * 50)
    with pytest.raises(UserError, match="api_key_env"):
        main(served(40))
    assert server.processed == []
    made = accounts.status(open_ledger())[0]["calls"]
    assert (made["done"], made["unknown"], made["reserved"]) == (0, 0, 0)
    monkeypatch.delenv("TEST_API_KEY")
    with pytest.raises(UserError, match="TEST_API_KEY"):
        main(served(40))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"teacher.cap": {"money": 1.0}, "teacher.price": 0.0}, "teacher.cap.money: 1, but teacher.price is 0"),
        ({"teacher.cap": {"tokens": 100}, "teacher.max_tokens_per_call": None}, "teacher.max_tokens_per_call is null"),
        ({"teacher.cap": {"calls": 39}}, "teacher.cap: 39 calls in the teacher's life"),
        ({"teacher.classes": 7}, "knows 7 classes, but data has 10"),
        ({"teacher.url": "http://127.0.0.1:9"}, "teacher.url"),
        ({"teacher.url": "https://127.0.0.1:{port}"}, "teacher.url"),
        ({"teacher.format": "wire:Other"}, "teacher.format"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_paid(served, server, changes, says):
    if "port" in str(changes):
        changes = {"teacher.url": changes["teacher.url"].format(port=server.port)}
    with pytest.raises(UserError, match=re.escape(says)):
        main(served(40, **changes))
    assert server.processed == []


def test_a_period_and_a_run_are_spent_and_said_to_be(served, server):
    week = {"teacher.cap": {"period": {"every": "week", "calls": 15}}}
    for _ in range(2):
        with pytest.raises(UserError, match=r"teacher\.cap\.period: 15 calls spent of 15 this week"):
            main(served(40, **week))
        assert len(server.processed) == 15
    with pytest.raises(UserError, match=r"teacher\.cap\.run: 10 calls spent of 10 in this run"):
        main(served(40, **{"teacher.cap": {"run": {"calls": 10}}}))
    assert len(server.processed) == 25
