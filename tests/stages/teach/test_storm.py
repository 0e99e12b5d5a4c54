"""A storm of faults and kills: the teacher's own bill against the ledger. `benchmarks/fault_storm.py` is the same at length."""

import os

import numpy as np
import pytest
from support import ROOT, digits, stage, write_params

from benchmarks import fault_storm, storm_server

SAMPLES, KILLS = 300, 3


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A workspace with so many digits to buy."""
    folder = tmp_path_factory.mktemp("storm")
    images, labels = digits(SAMPLES + 40)
    np.savez(
        folder / "digits.npz",
        train_images=images[:SAMPLES],
        train_labels=labels[:SAMPLES],
        val_images=images[SAMPLES:][::2],
        val_labels=labels[SAMPLES:][::2],
        test_images=images[SAMPLES:][1::2],
        test_labels=labels[SAMPLES:][1::2],
    )
    change(folder, {})
    ran = stage("prepare", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return folder


def change(folder, params):
    mine = {
        "data.source": f"npz:{folder}/digits.npz",
        "study.budgets": [SAMPLES],
        "study.methods": ["kd"],
        "teacher.batch_size": 2,
        "teacher.max_unknown": 0.5,
    }
    if params:  # then they name a server
        mine["teacher.max_in_flight"] = 16
    write_params(folder, mine | params)


@pytest.mark.slow
@pytest.mark.parametrize("idempotent", [True, pytest.param(False, marks=pytest.mark.long)])
def test_storm(pool, tmp_path, idempotent):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = fault_storm.Run(pool, tmp_path / "teacher", environment, SAMPLES)
    # No second answer comes late: all that follows on that connection may then be read as the answer to the question before.
    found = fault_storm.measure(
        run,
        idempotent,
        KILLS,
        1.0,
        0,
        lambda params: change(pool, params),
        latency=0.15,
        stall=2 * fault_storm.TIMEOUT,
        late=0,
    )
    fault_storm.check(found, SAMPLES, idempotent)
    assert found["kills"] == KILLS
    assert found["owned"] >= SAMPLES // 2
    assert set(found["fates"]) >= {"well", "429", "twice"}  # the teacher did misbehave


def test_a_wrong_answer_would_be_seen():
    """Each image has an answer of its own, which float32 holds exactly."""
    images, _ = digits(50)
    rows = np.array([storm_server.scores_of(image.tobytes()) for image in images])
    assert len(np.unique(rows, axis=0)) == 50
    np.testing.assert_array_equal(rows.astype(np.float32), rows)
