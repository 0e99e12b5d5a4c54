"""What the report says of estimates: what was expected of them, and what a larger budget found to be true."""

import re

import numpy as np
import pytest

from stages.report.best import Owned
from stages.report.estimated import estimate_rows, estimates_text
from stages.report.pool_map import pool_map
from tuition.files import write_array, write_json
from tuition.workspace import Workspace


@pytest.fixture
def studied(tmp_path, monkeypatch):
    """Ten samples of three classes: 2 are bought first, 5 in all; of the three more, two were estimated rightly."""
    monkeypatch.chdir(tmp_path)
    here = Workspace()
    for budget, positions, classes in ((2, [0, 9], [0, 1]), (5, [0, 1, 2, 3, 9], [0, 1, 2, 2, 1])):
        write_array(here.outputs(budget).positions, np.array(positions))
        write_array(here.outputs(budget).signal("logits"), 5 * np.eye(3, dtype=np.float32)[classes])
    for budget, rest in ((2, np.arange(1, 9)), (5, np.arange(4, 9))):
        files = here.estimates(budget)
        named = np.array([0, 1, 2, 0, 0, 1, 1, 2, 2, 0])[rest]  # samples 1 and 2 as the teacher, 3 not
        write_array(files.positions, rest)
        write_array(files.probabilities, np.eye(3, dtype=np.float16)[named])
        expected = {"share": 0.6, "low": 0.2, "high": 0.9, "level": 0.95}
        meta = {"estimator": "ridge", "samples": len(rest), "held_out": {"answers": budget, "agreement": 0.5}}
        worst = [{"class": "2", "samples": 3, "expected_agreement": 0.4}]
        write_json(files.meta, meta | {"expected_agreement": expected, "worst_classes": worst})
    return here


def test_an_estimate_is_held_against_what_was_bought_later(studied):
    first, last = estimate_rows([5, 2])
    assert (first["budget"], first["later"], first["true"]) == (2, 3, pytest.approx(2 / 3))
    assert 0.2 < first["true_low"] < 2 / 3 < first["true_high"] < 0.95
    assert (last["budget"], last["later"]) == (5, 0)
    said = estimates_text([first, last]).splitlines()
    assert said[2].startswith("| 2 | `ridge` | 8 | 60.0 % (20.0 % … 90.0 %) | 2 | 66.7 % (")
    assert said[3].endswith("| – |")


def test_without_estimates_there_is_nothing_to_say(studied):
    write_json(studied.estimates(2).meta, {"estimator": "none"})
    studied.estimates(5).meta.unlink()
    assert estimate_rows([2, 5]) == []


def test_a_map_shows_what_was_bought_and_where_the_estimate_is_unsure(studied):
    owned = Owned(None, np.array([0, 1, 2, 3, 9]), np.array([0, 1, 2, 2, 1]), np.array([0, 1, 2, 0, -1]))
    assert pool_map(5, owned) is None  # no features
    write_json(studied.encoded.meta, {"source": "file:f.npy", "dimensions": 3, "rows": {"train": 10}, "sha256": None})
    rows = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32) * [9, 3, 0.1]
    write_array(studied.features("train"), rows.astype(np.float32))
    write_array(studied.estimates(5).confidence, np.array([0.9, 0.9, 0.5, 0.4, 0.9], np.float32))
    drawn = pool_map(5, owned)
    named = ["not bought, estimate sure (3)", "not bought, estimate unsure (2)", "bought (4)"]
    assert all(f">{name}<" in drawn for name in [*named, "bought, teacher and label differ (1)"])
    assert re.search(r"(99|100) % of their variance", drawn)
    assert pool_map(5, None) is None
