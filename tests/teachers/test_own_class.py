"""A teacher of the user's own class: the one of docs/your_teacher.md, what a class may leave out, and what is said of one that is none."""

import asyncio
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from support import stage, write_params

from tuition.errors import UserError
from tuition.params.teacher import teacher_settings
from tuition.teachers import Refused, Reply, fingerprint, load_teacher

DOC = (Path(__file__).parents[2] / "docs" / "your_teacher.md").read_text()
CLASS = re.findall(r"```python\n(.*?)```", DOC, flags=re.DOTALL)[1]
SECTIONS = [YAML(typ="safe").load(one)["teacher"] for one in re.findall(r"```yaml\n(.*?)```", DOC, flags=re.DOTALL)]
OF_CLASS = next(one for one in SECTIONS if ":" in one["kind"])
FACTS = {"channels": 1, "height": 8, "width": 8, "classes": ["a", "b", "c"], "mean": [0.1], "std": [0.3]}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
KEYS = [f"{number:032x}" for number in range(6)]

OWN = """
import asyncio
from tuition.teachers import Refused, Reply

class Bare:
    def __init__(self, settings, facts): self.facts = facts
    def describe(self): return {}
    def answer(self, inputs, keys): return {"logits": inputs.reshape(len(inputs), -1)[:, :3]}

class Waits(Bare):
    max_in_flight = 3
    most = now = 0
    async def answer(self, inputs, keys):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.05)
        self.now -= 1
        return Reply({"logits": inputs[:, 0, 0, :3]}, input_tokens=5, output_tokens=2)

class Odd(Bare):
    def answer(self, inputs, keys): return inputs

class Stops(Bare):
    def answer(self, inputs, keys): raise next(iter([])) if len(inputs) > 1 else Refused("429")

class NoAnswer:
    def describe(self): return {}

class Unwritable(Bare):
    def describe(self): return {"a": {1, 2}}

class Taken(Bare):
    signals = ("logits", "spend")

class Greedy(Bare):
    max_in_flight = 2

class Broken(Bare):
    def __init__(self, settings, facts): raise RuntimeError("no such thing")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write mine.py into the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return (tmp_path / "mine.py").write_text


def load(kind: str, **more):
    return load_teacher(teacher_settings(kind=kind, **more), FACTS)


def ask(teacher, *batches) -> list[Reply]:
    async def run():
        async with teacher:
            return await asyncio.gather(*(teacher.answer(images, KEYS[: len(images)]) for images in batches))

    return asyncio.run(run())


def test_the_class_of_the_document(mine, tmp_path):
    mine(CLASS)
    assert len([line for line in CLASS.splitlines() if line.strip()]) <= 20
    means = np.random.default_rng(1).random((3, 1, 8, 8)) * 255
    np.save("means.npy", means)
    kind = OF_CLASS["kind"]
    teacher = load(kind, **{key: value for key, value in OF_CLASS.items() if key != "kind"})
    assert teacher.signals == teacher.families == ("logits", "distance")
    assert (teacher.classes, teacher.max_in_flight, teacher.idempotent, teacher.constants()) == (3, 1, False, {})
    (reply,) = ask(teacher, IMAGES)
    for image, row in zip(IMAGES, reply.signals["distance"], strict=True):
        np.testing.assert_allclose(row, [np.sqrt(((image - mean) ** 2).mean()) for mean in means])
    np.testing.assert_array_equal(reply.signals["logits"], -reply.signals["distance"])
    np.save("means.npy", means + 1)
    other = load(kind, options={"means": "means.npy"})
    assert fingerprint(other.description) != fingerprint(teacher.description)


def test_what_a_class_leaves_out(mine):
    mine(OWN)
    teacher = load("mine:Bare", version="7", classes=3, idempotent=True)
    assert teacher.description == {"kind": "mine:Bare", "version": "7", "describe": {}}
    assert (teacher.signals, teacher.classes, teacher.idempotent) == (("logits",), 3, True)
    (reply,) = ask(teacher, IMAGES)
    np.testing.assert_array_equal(reply.signals["logits"], IMAGES.reshape(6, -1)[:, :3])


def test_an_async_class_has_several_batches_under_way(mine):
    mine(OWN)
    teacher = load("mine:Waits")
    assert teacher.max_in_flight == 3
    replies = ask(teacher, *(IMAGES[i : i + 2] for i in (0, 2, 4)))
    assert [(reply.input_tokens, reply.output_tokens) for reply in replies] == [(5, 2)] * 3
    assert teacher.model.own.most == 3


def test_a_class_without_async_is_asked_in_one_thread_in_order(mine):
    mine("import threading\n" + OWN)
    teacher, threads, sizes = load("mine:Bare"), set(), []
    plain = teacher.model.own.answer

    def answer(inputs, keys):
        threads.add(threading.current_thread())
        sizes.append(len(inputs))
        return plain(inputs, keys)

    teacher.model.own.answer = answer
    ask(teacher, IMAGES[:1], IMAGES[:2], IMAGES[:3])
    assert sizes == [1, 2, 3]
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def test_what_is_no_answer_is_kept_and_what_is_raised_passes(mine):
    mine(OWN)
    (reply,) = ask(load("mine:Odd"), IMAGES[:1])
    assert "mine:Odd: answer() returned ndarray, expected a dict of arrays" in reply.malformed
    assert reply.raw.startswith(b"array(")
    with pytest.raises(Refused, match="429"):
        ask(load("mine:Stops"), IMAGES[:1])
    with pytest.raises(RuntimeError, match="StopIteration"):
        ask(load("mine:Stops"), IMAGES)


def test_outside_of_its_session_it_is_not_asked(mine):
    mine(OWN)
    teacher = load("mine:Bare")
    ask(teacher, IMAGES)
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(teacher.answer(IMAGES, KEYS))


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("nowhere_to_be_found:Full", "cannot import 'nowhere_to_be_found': ModuleNotFoundError"),
        ("mine:Bar", "'mine' has no class 'Bar'; it has: Bare, Broken, Greedy, NoAnswer, Odd, Stops, Taken"),
        ("mine:NoAnswer", r"mine:NoAnswer has no answer\(\)"),
        ("mine:Unwritable", r"describe\(\) is not JSON"),
        ("mine:Taken", "signals: found .*'spend'.*; expected a tuple"),
        ("mine:Greedy", "max_in_flight: 2, but only an `async def answer`"),
        ("mine:Broken", r"mine:Broken\(settings, facts\): RuntimeError: no such thing"),
    ],
)
def test_classes_that_are_no_teachers(mine, named, words):
    mine(OWN)
    with pytest.raises(UserError, match=f"teacher.kind: .*{words}"):
        load(named)


def test_through_the_stage(workspace):
    (workspace / "mine.py").write_text(OWN.replace("[:, :3]", "[:, 300:310]"))
    write_params(workspace, {"teacher.kind": "mine:Bare", "study.methods": ["ce", "kd"], "study.budgets": [20]})
    ran = stage("teach", 20, cwd=workspace)
    assert ran.returncode == 0, ran.stderr
    positions, images = np.load(workspace / "outputs/20/positions.npy"), np.load(workspace / "data/train/images.npy")
    pixels = images[positions].reshape(20, -1)[:, 300:310]
    np.testing.assert_array_equal(np.load(workspace / "outputs/20/logits.npy"), pixels)
    assert "20 new calls" in ran.stdout
    assert "0 new calls" in stage("teach", 20, cwd=workspace).stdout


def test_a_class_where_a_function_is_expected(mine):
    mine(OWN)
    with pytest.raises(UserError, match=r"teacher\.function: mine:Bare is a class; set teacher\.kind: mine:Bare"):
        load("python", function="mine:Bare")
