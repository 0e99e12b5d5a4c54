"""Answers in a table, through the stage: which samples a budget takes, what they cost, and what is found before anything is owned."""

import numpy as np
import pytest
from support import PAID, stage, write_params

from tuition import params as parameters
from tuition.cli.check import look
from tuition.errors import UserError
from tuition.files import read_array, read_json, write_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger

TABLE = {
    **{key: value for key, value in PAID.items() if key != "teacher.function"},
    "teacher.kind": "table",
    "teacher.name": "elsewhere",
    "teacher.path": "answers.csv",
    "teacher.answers": "labels",
    "study.methods": ["pseudo-label"],
    "methods": {"pseudo-label": {}},
    "compare.sets": {},
}
STRAY = "0" * 64  # the content id of no sample


@pytest.fixture
def table(workspace):
    """Writes answers.csv: of the samples at these places of a split the label plus `shift`, and a row of no sample."""

    def write(places, split="train", shift=0, also=""):
        ids, labels = (read_array(workspace / "data" / split / f"{name}.npy") for name in ("ids", "labels"))
        rows = [f"{ids[i].decode()},{(labels[i] + shift) % 10}\n" for i in places]
        (workspace / "answers.csv").write_text("".join(["id,label\n", *rows, also or f"{STRAY},3\n"]))
        return "".join(rows)

    return write


def teach(folder, budget, **changes):
    write_params(folder, TABLE | {key.replace("__", "."): value for key, value in changes.items()})
    return stage("teach", budget, cwd=folder)


def outputs(folder, budget, name="ids"):
    return read_array(folder / f"outputs/{budget}/{name}.npy")


def test_a_budget_is_of_the_samples_that_have_a_row_and_a_row_more_costs_a_row_more(workspace, table):
    pool = len(read_array(workspace / "data/train/ids.npy"))
    table(range(0, pool, 2))
    ran = teach(workspace, 40)
    assert ran.returncode == 0, ran.stderr
    assert "40 new calls, 40 outputs owned" in ran.stdout
    assert f"with an answer to {len(range(0, pool, 2))} of the pool's {pool} samples" in ran.stdout
    assert "1 of its rows name no sample in data/" in ran.stdout
    assert "is not 'answers.csv', so a changed table will not re-run this stage" in ran.stdout
    small = outputs(workspace, 40).copy()
    places = outputs(workspace, 40, "positions")
    assert (places % 2 == 0).all()
    np.testing.assert_array_equal(
        outputs(workspace, 40, "label"), read_array(workspace / "data/train/labels.npy")[places]
    )
    assert read_json(workspace / "spend/40.json")["cost"] == 0.4

    assert teach(workspace, 100).returncode == 0
    np.testing.assert_array_equal(outputs(workspace, 100)[:40], small)  # nested

    table([*range(0, pool, 2), *range(1, pool, 2)])
    assert teach(workspace, pool).returncode == 0
    status = accounts.status(open_ledger())[0]
    assert (status["calls"]["done"], status["samples"]) == (pool, pool)  # nothing was paid twice


def test_more_than_the_table_answers_is_refused(workspace, table):
    table(range(30))
    ran = teach(workspace, 40)
    assert ran.returncode == 2
    assert (
        "40 calls, but the pool has 30 distinct samples with an answer in answers.csv (teacher.path); valid: 1 to 30"
        in ran.stderr
    )


def test_check_finds_that_too_and_says_what_has_a_row(workspace, table, prepared):
    table(range(30))
    write_params(workspace, TABLE | {"data.source": f"npz:{prepared}/digits.npz"})
    found = look(parameters.load())
    assert any("answers.csv: 31 rows, with an answer to 30 of the pool's" in one for one in found.notes)
    assert "answers.csv (teacher.path) answers 30 samples of the pool; valid: 1 to 30" in "\n".join(found.errors)


def test_an_owned_answer_that_changed_is_found_out(workspace, table):
    rows = table(range(60))
    assert teach(workspace, 40).returncode == 0
    table(range(60, 100), shift=1, also=rows)  # what is new is other, what is owned is not
    assert teach(workspace, 50).returncode == 0
    owned = outputs(workspace, 50, "positions").tolist()
    table([i for i in range(100) if i not in owned[:2]], also="".join(table(owned[:2], shift=1)))
    ran = teach(workspace, 50)
    assert ran.returncode == 2
    assert "teacher.path: answers.csv: " in ran.stderr
    assert "answers that are owned are others in this file" in ran.stderr
    assert teach(workspace, 50, teacher__version="2").returncode == 0


def test_answers_that_are_not_plausible_are_refused_as_of_any_teacher(workspace, table):
    table(range(200), shift=1)
    ran = teach(workspace, 100, teacher__unchecked=[])
    assert ran.returncode == 2
    assert "labels" in ran.stderr
    assert accounts.status(open_ledger())[0]["calls"]["done"] < 100


def test_a_further_table_answers_what_it_has(workspace, table):
    table(range(0, 540, 3))
    first = {key.removeprefix("teacher."): value for key, value in TABLE.items() if key.startswith("teacher.")}
    (workspace / "paid.py").write_text(
        "import numpy as np\ndef answer(images, keys): return np.eye(10)[images[:, 0, 9, 9] % 10] * 3\n"
    )
    write_params(
        workspace,
        {
            **PAID,
            "teachers": [first],
            "study.methods": ["kd"],
            "methods": {"kd": {}},
        },
    )
    ran = stage("teach", 40, cwd=workspace)
    assert ran.returncode == 0, ran.stderr
    places = outputs(workspace, 40, "positions")
    further = workspace / "outputs/40/teachers/elsewhere"
    assert 0 < len(read_array(further / "ids.npy")) == (places % 3 == 0).sum() < 40


def test_val_and_test_are_answered_by_the_table_too(workspace, table):
    for split in ("train", "val", "test"):
        labels = workspace / "data" / split / "labels.npy"
        kept = read_array(labels).copy()
        np.save(workspace / f"{split}.npy", kept)
    rows = table(range(0, 40, 2), "val") + table(range(0, 100, 2), "test")
    table(range(100), also=rows)
    for split in ("train", "val", "test"):
        labels = workspace / "data" / split / "labels.npy"
        np.save(labels, np.full(len(np.load(labels)), -1))
    meta = read_json(workspace / "data/meta.json")
    write_json(
        workspace / "data/meta.json", meta | {"labelled": {"train": 0, "val": 0, "test": 0}, "evaluated_by": "teacher"}
    )
    ran = teach(workspace, 80, teach__evaluation=30)
    assert ran.returncode == 0, ran.stderr
    for split, count in (("val", 10), ("test", 20)):
        top = read_array(workspace / f"outputs/80/evaluation/{split}/labels.npy")
        answered = np.flatnonzero(top >= 0)
        assert len(answered) == count
        assert (answered % 2 == 0).all()
        np.testing.assert_array_equal(top[answered], np.load(workspace / f"{split}.npy")[answered])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"teach.views": 2, "teach.flip": True},
            "teach.views: 2, but teacher.kind 'table' answers samples of the pool alone",
        ),
        ({"teach.mixed": True}, "teach.mixed: true, but teacher.kind 'table'"),
        ({"teacher.recheck": {"every": 20}}, "teacher.recheck.every: found 20; a table does not change its mind"),
        ({"teacher.path": None}, "teacher.path: missing; kind 'table' needs the file with the answers"),
        (
            {"teacher.columns": {"file": "a", "id": "b"}},
            "teacher.columns: found file and id; one of file, id, row and text",
        ),
    ],
)
def test_what_a_table_cannot_do_is_refused(workspace, changes, says):
    write_params(workspace, TABLE | changes, check=False)
    with pytest.raises(UserError) as error:
        parameters.load()
    assert says in str(error.value)


def test_the_file_strategy_passes_over_what_has_no_answer(workspace, table):
    ids = read_array(workspace / "data/train/ids.npy")
    table(range(0, 100, 2))
    (workspace / "order.txt").write_text("".join(f"{id.decode()}\n" for id in ids[:90]))
    ran = teach(workspace, 40, teach__strategy="file", teach__order="order.txt", teach__watch="order.txt")
    assert ran.returncode == 0, ran.stderr
    assert outputs(workspace, 40, "positions").tolist() == list(range(0, 80, 2))
