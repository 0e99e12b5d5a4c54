"""`uncertain` and `file`: the student and the list that they go by, and those that cannot be used."""

import json

import numpy as np
import pytest
import torch
from support.pools import IDS, IMAGES, NAMES, order, write_student

from tuition.errors import UserError


def test_uncertain_goes_by_the_students_margin(tmp_path):
    guide = write_student(tmp_path / "guide")
    from stages.evaluate.__main__ import predict
    from tuition.models import load_student

    model, about = load_student(guide)
    logits, _ = predict(model, IMAGES, about, 64, torch.device("cpu"))
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = np.sort(shares / shares.sum(axis=1, keepdims=True), axis=1)
    margin = (shares[:, -1] - shares[:, -2])[order("uncertain", guide=guide)]
    assert (np.diff(margin) > -1e-5).all()
    assert margin[-1] > margin[0] + 0.01


def test_uncertain_keeps_the_order_of_samples_when_the_pool_grows(tmp_path):
    guide = write_student(tmp_path / "guide")
    small = IDS[order("uncertain", guide=guide, images=IMAGES[:120], ids=IDS[:120])]
    grown = IDS[order("uncertain", guide=guide)]
    assert [id for id in grown if id in set(small)] == list(small)


def test_equal_margins_are_shuffled_by_the_seed(tmp_path):
    guide = write_student(tmp_path / "guide")
    from safetensors.torch import load_file, save_file

    weights = {key: torch.zeros_like(value) for key, value in load_file(guide / "weights.safetensors").items()}
    save_file(weights, guide / "weights.safetensors")
    for seed in (0, 1):
        assert np.array_equal(order("uncertain", guide=guide, seed=seed), order("random", seed=seed))


def test_a_student_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"teach\.student: .*none: no weights\.safetensors there; valid: a folder with"):
        order("uncertain", 10, tmp_path / "none")
    half = write_student(tmp_path / "half")
    (half / "student.json").unlink()
    with pytest.raises(UserError, match=r"no student\.json there"):
        order("uncertain", 10, half)
    with pytest.raises(UserError, match=r"takes images \(1, 32, 32\) .*those of data/train are \(1, 28, 28\)"):
        order("uncertain", 10, write_student(tmp_path / "large", height=32, width=32))
    with pytest.raises(UserError, match=r"tells 3 classes 0, 1, 2, but data has 10: 0, 1, 2, 3, 4, 5, …"):
        order("uncertain", 10, write_student(tmp_path / "three", classes=3, class_names=NAMES[:3]))
    older = write_student(tmp_path / "older")
    about = json.loads((older / "student.json").read_text())
    (older / "student.json").write_text(json.dumps({key: about[key] for key in about if key != "mean"}))
    with pytest.raises(UserError, match=r"student\.json lacks mean"):
        order("uncertain", 10, older)


LIST = [one.decode() for one in IDS[[7, 3, 11]]]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(LIST),
        "# chosen by hand\n\n" + "  # why\n".join(LIST) + "\n",
        "\ufeffID,class,why\r\n" + "".join(f'"{one}",3,"so, and so"\r\n' for one in LIST),
        "".join(f"{one.upper()}\t0.5\n" for one in LIST),
    ],
)
def test_a_listed_order_is_kept_whatever_else_the_file_holds(text, tmp_path):
    path = tmp_path / "order.csv"
    path.write_bytes(text.encode())
    assert order("file", 3, path)[:3].tolist() == [7, 3, 11]
    assert order("file", 2, path)[:2].tolist() == [7, 3]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LIST, "# again", LIST[1]], f"line 5: {LIST[1]} stands on line 2 already"),
        ([LIST[0], "0" * 64], f"line 2: {'0' * 64} is not in the pool"),
        ([LIST[0], LIST[1][:-1]], f"line 2: found '{LIST[1][:-1]}', expected a content id: 64 hexadecimal digits"),
        (["7", "3"], "line 1: found '7', expected a content id"),
        (LIST, "3 ids, but a budget of 10 is to be bought; list more, or lower study.budgets"),
        ([], "0 ids, but a budget of 10"),
    ],
)
def test_a_list_that_cannot_be_bought_is_refused(lines, message, tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError) as refused:
        order("file", 10, path)
    assert str(refused.value).startswith(f"teach.order: {path}: ")
    assert message in str(refused.value)


def test_a_list_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read .*No such file"):
        order("file", 1, tmp_path / "none.txt")
    np.save(tmp_path / "ids.npy", np.full(3, 255, np.uint8))
    with pytest.raises(UserError, match="not a text file"):
        order("file", 1, tmp_path / "ids.npy")
