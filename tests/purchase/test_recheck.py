"""A teacher that changes behind its name is found out by the answers that are asked for again."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import PAID, bill, stage, write_params

from tuition.files import read_array, read_json
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger
from tuition.params.bounds import Recheck
from tuition.purchase import recheck as drift

TURNING = '''
"""A teacher that turns its classes round after so many answers."""
import paid, numpy as np
from pathlib import Path

def answer(images, keys):
    given = paid.answer(images, keys)
    asked = len(Path("bill.txt").read_text().split())
    return given[:, ::-1].copy() if asked > {after} else given + {noise} * np.sin(asked)
'''


def teach(folder, budget, after=10**6, noise=0.0, every=20, **changes):
    (folder / "turning.py").write_text(TURNING.format(after=after, noise=noise))
    recheck = {"every": every, "samples": 3, "tolerance": 0.01}
    write_params(
        folder,
        {
            **PAID,
            "teacher.function": "turning:answer",
            "teacher.recheck": recheck,
            "study.budgets": [budget],
            **changes,
        },
    )
    return stage("teach", budget, cwd=folder)


def test_re_asking_stays_within_the_budget_and_nests(paid):
    ran = teach(paid, 50)
    assert ran.returncode == 0, ran.stderr
    assert len(bill(paid)) == 50  # 20, then 3 + 17, then 3 + 7
    assert read_json(paid / "spend/50.json")["recheck_calls"] == 6
    ids = read_array(paid / "outputs/50/ids.npy").copy()
    assert len(ids) == 44
    assert "0 new calls" in teach(paid, 50).stdout
    assert teach(paid, 90).returncode == 0
    assert len(bill(paid)) == 90
    assert np.array_equal(read_array(paid / "outputs/90/ids.npy")[:44], ids)
    assert accounts.verify(open_ledger()) == []


def test_a_teacher_that_changed_is_stopped_and_stays_so(paid):
    ran = teach(paid, 90, after=30)
    assert ran.returncode == 2
    assert "drifted: 3 of 3 answers" in ran.stderr
    assert "class" in ran.stderr
    assert "teacher.version" in ran.stderr
    assert len(bill(paid)) == 43  # the second round is asked before it is known; the third begins with asking again
    again = teach(paid, 90, after=30)
    assert again.returncode == 2
    assert "drifted" in again.stderr
    assert len(bill(paid)) == 43


def test_noise_below_the_tolerance_passes(paid):
    assert teach(paid, 50, noise=1e-3).returncode == 0


def test_a_cap_counts_what_is_asked_again(paid):
    ran = teach(paid, 50, **{"teacher.cap": 49})
    assert "this budget needs 50 more. Nothing was sent" in ran.stderr
    assert teach(paid, 50, **{"teacher.cap": 50}).returncode == 0


def test_more_samples_than_calls_are_refused():
    with pytest.raises(ValueError, match=r"teacher\.recheck\.samples: 5 of every 5 calls"):
        Recheck(every=5, samples=5)


@given(st.integers(1, 500), st.integers(2, 60), st.data())
def test_rounds_add_up_to_the_budget(budget, every, data):
    recheck = Recheck(every=every, samples=data.draw(st.integers(1, every - 1)))
    listed = list(drift.rounds(budget, recheck))
    bought = drift.samples_for(budget, recheck)
    assert listed[-1][1] == bought
    spent = listed[-1][1] + recheck.samples * (len(listed) - 1)
    assert budget - recheck.samples <= spent <= budget
    assert all(one[1] < other[1] for one, other in itertools.pairwise(listed))


def test_a_change_is_measured_in_probabilities():
    old, new = np.array([[0.0, 0.0]]), np.array([[0.0, np.log(3)]])
    assert drift.changes(old, new, "logits") == pytest.approx([0.25])
    assert drift.changes(np.array([[3.0, 4.0]]), np.array([[3.0, 5.0]]), "embedding") == pytest.approx([0.2])
