"""The allowance: spent once, on additions alone, whatever is run twice, killed or bought by others."""

from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from support import bill
from support.refreshes import days_pass, dies, fill, ids

from tuition import params as parameters
from tuition.errors import UserError
from tuition.ledger import accounts
from tuition.ledger.database import open_ledger

QUICK = {"teacher.batch_size": 4}


def spent() -> int:
    (one,) = accounts.status(open_ledger())
    assert accounts.verify(open_ledger()) == []
    return one["period"]["calls"]


def test_the_allowance_is_spent_on_additions_and_once(refreshing):
    assert refreshing.take()["new"] == 60
    told = refreshing.plan(strategy="uncertain")
    assert (told["run"], told["new"], told["candidates"], told["later"], told["budget"]) == (True, 20, 60, 40, 20)
    assert told["ranked_by"].startswith("random: models:/tuition-mnist5k@champion is not there")
    params = parameters.load()
    assert (params.teach.strategy, params.teach.order, params.teach.watch) == ("file", *["refresh/order.txt"] * 2)
    assert params.study.budgets == [20]
    refreshing.teach()
    assert len(bill(refreshing.folder)) == 20
    order = Path("refresh/order.txt").read_text().split()
    assert set(order) <= set(ids()[-60:])
    before = Path("params.yaml").read_bytes()
    for _ in range(2):
        assert refreshing.take()["new"] == 0
        told = refreshing.plan()
        assert (told["new"], told["later"], told["left"]) == (0, 40, 0)
        refreshing.teach()
        assert len(bill(refreshing.folder)) == 20
        assert Path("params.yaml").read_bytes() == before
        assert Path("refresh/order.txt").read_text().split() == order


def test_comments_and_other_parameters_stay(refreshing):
    refreshing.take()
    yaml = YAML(typ="safe")
    before, text = yaml.load(Path("params.yaml")), Path("params.yaml").read_text()
    refreshing.plan()
    after = yaml.load(Path("params.yaml"))
    changed = [(s, k) for s in after for k in after[s] if after[s][k] != before[s][k]]
    assert changed == [("study", "budgets"), ("teach", "strategy"), ("teach", "order"), ("teach", "watch")]
    comments = [line.split("#")[1] for line in text.splitlines() if "#" in line]
    assert [line.split("#")[1] for line in Path("params.yaml").read_text().splitlines() if "#" in line] == comments


def test_what_an_earlier_study_bought_is_kept_first_and_its_calls_count(refreshing):
    refreshing.run("teach", "15")
    owned = set(bill(refreshing.folder))
    first = [one.decode() for one in np.load("outputs/15/ids.npy").tolist()]
    refreshing.take()
    told = refreshing.plan()
    assert (told["spent_before"], told["left"], told["new"], told["budget"]) == (15, 5, 5, 20)
    assert Path("refresh/order.txt").read_text().split()[:15] == first
    refreshing.teach()
    assert len(bill(refreshing.folder)) == 20
    assert owned < set(bill(refreshing.folder))
    days_pass()
    assert refreshing.plan()["new"] == 20
    assert refreshing.budget == 40


@pytest.mark.parametrize(
    ("every", "days", "second"), [("day", 1, 20), ("day", 0, 0), ("month", 40, 20), ("week", 8, 20)]
)
def test_each_period_has_an_allowance_of_its_own(refreshing, every, days, second):
    refreshing.write(**{"refresh.every": every})
    refreshing.take()
    refreshing.plan()
    refreshing.teach()
    days_pass(days)
    assert refreshing.plan()["new"] == second
    if second:
        refreshing.teach()
    assert (len(bill(refreshing.folder)), spent()) == (20 + second, second or 20)


def test_over_periods_all_is_bought_and_then_nothing(refreshing):
    for expected in (25, 25, 10, 0):
        refreshing.take()
        before = len(bill(refreshing.folder))
        told = refreshing.plan(allowance=25)
        assert told["new"] == expected
        refreshing.teach()
        assert len(bill(refreshing.folder)) - before == expected
        days_pass()
    assert "nothing new: all additions are bought already" in refreshing.run("intake", "plan")
    fill(refreshing.inbox, 60, 63)
    refreshing.take()
    told = refreshing.plan()
    assert (told["new"], told["ranked_by"], told["budget"]) == (3, "all: they fit into the allowance", 63)


def test_without_additions_nothing_is_written(refreshing):
    before = Path("params.yaml").read_bytes()
    told = refreshing.plan()
    assert (told["run"], told["new"], told["calls"]) == (False, 0, 0)
    assert Path("params.yaml").read_bytes() == before
    assert not Path("refresh/order.txt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("idempotent", [True, False])
@pytest.mark.parametrize("later", [0, 1])
def test_killed_in_the_middle_of_a_purchase_it_spends_as_undisturbed(refreshing, idempotent, later):
    """The next plan of the same day buys the rest; that of the next day has an allowance of its own, and passes it neither."""
    refreshing.write(**QUICK, **{"teacher.idempotent": idempotent})
    refreshing.take()
    refreshing.plan()
    wanted = set(Path("refresh/order.txt").read_text().split())
    refreshing.kill_in_teach(8)
    first = len(set(bill(refreshing.folder)))
    assert 8 <= first < 20
    if later:
        days_pass(later)
    told = refreshing.plan()
    assert told["calls"] <= 20
    refreshing.teach()
    assert spent() <= 20
    if later:
        assert spent() == 20
    else:
        assert len(set(bill(refreshing.folder))) == 20
        assert set(Path("refresh/order.txt").read_text().split()) == wanted
    again = len(bill(refreshing.folder))
    assert refreshing.plan()["new"] == 0
    refreshing.teach()
    assert len(bill(refreshing.folder)) == again


def test_killed_in_a_plan_the_next_one_writes_the_same(refreshing):
    refreshing.take()
    killed = [dies(at, "intake", "plan") for at in (1, 2)]  # at the order, at params.yaml
    assert killed == [True, True]
    assert parameters.load().teach.strategy == "random"
    order = Path("refresh/order.txt").read_text()
    assert refreshing.plan()["new"] == 20
    assert Path("refresh/order.txt").read_text() == order
    assert bill(refreshing.folder) == []


def test_the_ledgers_own_bounds_hold_beside_it(refreshing):
    refreshing.write(**{"teacher.cap": {"calls": 1000, "period": {"every": "day", "calls": 7}}})
    refreshing.take()
    assert refreshing.plan()["new"] == 20
    with pytest.raises(UserError, match=r"teacher.cap.period: 7 calls spent of 7 this day"):
        refreshing.teach()
    assert len(bill(refreshing.folder)) == 7


@pytest.mark.parametrize("strategy", ["balanced", "kcenter", "random"])
def test_strategies_of_the_purchase_rank_the_new_ones(refreshing, strategy):
    refreshing.take()
    told = refreshing.plan(strategy=strategy)
    assert (told["new"], told["ranked_by"]) == (20, strategy)
    if strategy == "balanced":
        label = dict(zip(ids(), np.load("data/train/labels.npy").tolist(), strict=True))
        counts = np.bincount([label[one] for one in Path("refresh/order.txt").read_text().split()], minlength=10)
        assert counts.tolist() == [2] * 10


def test_recheck_is_paid_out_of_the_allowance(refreshing):
    refreshing.write(**{"teacher.recheck": {"every": 12, "samples": 3}})
    refreshing.take()
    told = refreshing.plan()
    assert (told["new"], told["calls"], told["budget"]) == (17, 20, 20)
    refreshing.teach()
    assert (len(bill(refreshing.folder)), spent()) == (20, 20)
    assert refreshing.plan()["new"] == 0


def test_a_clock_that_went_back_is_refused(refreshing):
    refreshing.take()
    refreshing.plan()
    refreshing.teach()
    days_pass(-3)
    with pytest.raises(UserError, match=r"the clock says .* an allowance would be spent twice. Nothing was spent"):
        refreshing.plan()


def test_data_without_the_additions_is_refused(refreshing):
    refreshing.run("intake", "take")
    with pytest.raises(UserError, match=r"data.additions null, params.yaml says .*dvc repro prepare"):
        refreshing.plan()


@pytest.mark.parametrize(
    ("options", "said"),
    [({"allowance": 0}, "refresh.allowance: found 0"), ({"strategy": "best"}, "'best' is not known")],
)
def test_wrong_options_are_refused(refreshing, options, said):
    with pytest.raises(UserError, match=said):
        refreshing.plan(**options)


def test_a_teacher_that_learnt_a_signal_is_refused(refreshing):
    """It would be asked for it beyond the allowance, of all that is owned."""
    refreshing.take()
    refreshing.plan()
    refreshing.teach()
    days_pass()
    import paid

    paid.answer.signals = ("logits", "pooled")
    try:
        with pytest.raises(UserError, match=r"teacher.signals: pooled are not owned of 20 samples"):
            refreshing.plan()
    finally:
        paid.answer.signals = ("logits",)


def champion(refreshing, classes: list[str], shape: tuple[int, int, int] = (1, 28, 28)) -> None:
    """Register a student with random weights as champion, made by the code that registers all students."""
    import mlflow
    import torch

    from tuition.models import build
    from tuition.registry.model import log_student
    from tuition.tracking import store
    from tuition.training.student import write_student

    torch.manual_seed(0)
    made = {
        "arch": "resnet8",
        "channels": shape[0],
        "height": shape[1],
        "width": shape[2],
        "classes": len(classes),
        "taps": [],
        "class_names": classes,
        "mean": [0.1] * shape[0],
        "std": [0.3] * shape[0],
    }
    model = build("resnet8", channels=shape[0], classes=len(classes), size=shape[1:])
    write_student(Path("champ"), dict(model.state_dict()), {}, [{"step": 1, "loss": 0.0}], made)
    opened = store.connect_store("tuition-mnist5k")
    mlflow.set_tracking_uri(opened.uri)
    with mlflow.start_run(experiment_id=opened.experiment):
        uri = log_student(Path("champ"), np.zeros((2, *shape), np.uint8))
    version = mlflow.register_model(uri, "tuition-mnist5k", await_registration_for=0)
    opened.client.set_registered_model_alias("tuition-mnist5k", "champion", version.version)


@pytest.mark.slow
def test_the_champion_says_which_are_uncertain(refreshing):
    """Against margins computed from the student's own weights in float64."""
    import torch

    from tuition.inputs.images.preprocess import to_float
    from tuition.models import load_student

    refreshing.take()
    champion(refreshing, [str(i) for i in range(10)])
    told = refreshing.plan(strategy="uncertain")
    assert (told["champion"], told["ranked_by"]) == ("1", "uncertain: the margin of the champion, version 1")
    model, description = load_student(Path("champ"))
    images = torch.from_numpy(np.load("data/train/images.npy")[-60:])
    with torch.no_grad():
        top = (
            model.double()(to_float(images, description["mean"], description["std"]).double()).softmax(1).topk(2).values
        )
    margin = (top[:, 0] - top[:, 1]).numpy()
    expected = [ids()[-60:][row] for row in np.argsort(margin)[:20]]
    assert set(Path("refresh/order.txt").read_text().split()) == set(expected)
    assert told["strategy"] == "uncertain"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "shape", "said"),
    [
        (["a", "b"], (1, 28, 28), r"tells 2 classes \(a, b\), but the data has 10"),
        ([str(i) for i in range(10)], (1, 32, 32), r"takes images \(1, 32, 32\) .*, but the data has \(1, 28, 28\)"),
    ],
)
def test_a_champion_of_other_data_is_refused(refreshing, classes, shape, said):
    refreshing.take()
    champion(refreshing, classes, shape)
    before = Path("params.yaml").read_bytes()
    with pytest.raises(UserError, match=said):
        refreshing.plan(strategy="uncertain")
    assert Path("params.yaml").read_bytes() == before
    assert refreshing.plan(strategy="random")["new"] == 20
