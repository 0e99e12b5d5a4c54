"""Losses on logits and labels against independent float64 NumPy computations, values by hand, minima and limits."""

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr
from support.methods import batch_of, context_of, made, terms

from tuition.comparisons import group_weights
from tuition.errors import UserError
from tuition.losses.comparisons import difference_mse, in_batch
from tuition.losses.ranks import soft_rank, soft_spearman
from tuition.methods import build, card

RNG = np.random.default_rng(0)
B, C = 12, 7
S, T, P = (RNG.normal(size=(B, C)) * 3 for _ in range(3))
MAPS = {f"map{i}": RNG.normal(size=(B, 4 * i, 8 // i, 8 // i)) for i in (1, 2)}
Y = RNG.integers(C, size=B)
ONE_HOT = np.eye(C)[Y]
TEACHER = {"logits": T, "pruned": P}
LOGITS = ["dkd", "dist", "lskd", "mse", "ofa", "r2kd", "label-smoothing", "tf-kd"]


def log_softmax(z):
    z = z - z.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True))


def softmax(z):
    return np.exp(log_softmax(z))


def kl(p, q):
    """mean KL(p ‖ q) over rows, 0 log 0 = 0."""
    return np.where(p > 0, p * (np.log(np.where(p > 0, p, 1)) - np.log(q)), 0).sum(1).mean()


def ce(z):
    return -log_softmax(z)[np.arange(len(z)), Y[: len(z)]].mean()


def found(name, settings=None, student=S, teacher=TEACHER, y=Y, step=0, per_epoch=10, **more):
    signals = {"logits": student, "embedding": np.zeros((len(student), 5))}
    context = context_of(signals, teacher, labels=y, classes=student.shape[1], per_epoch=per_epoch)
    return terms(made(name, settings, context), {"logits": student}, batch_of(y, teacher, step=step, **more))[0]


def total(*arguments, **more):
    return sum(found(*arguments, **more).values())


# --- dkd


def dkd(s, t, y, temperature):
    p, q = softmax(t / temperature), softmax(s / temperature)
    rows = np.arange(len(y))
    both = [np.stack([x[rows, y], 1 - x[rows, y]], 1) for x in (p, q)]
    rest = [np.delete(x, 0, 1) for x in (p, q)]
    for out, x in zip(rest, (p, q), strict=True):
        for i in rows:
            out[i] = np.delete(x[i], y[i]) / (1 - x[i, y[i]])
    return temperature**2 * kl(*both), temperature**2 * kl(*rest)


@pytest.mark.parametrize(("step", "warm"), [(0, 1 / 20), (9, 1 / 20), (10, 2 / 20), (195, 1), (10_000, 1)])
def test_dkd(step, warm):
    target, others = dkd(S, T, Y, 4)
    got = found("dkd", step=step)
    assert got == pytest.approx({"target": warm * target, "others": 8 * warm * others}, abs=1e-9)


def test_dkd_is_kd_where_the_weights_are_one_and_the_mass_of_the_others():
    """KL(p^t ‖ p^s) = KL(b^t ‖ b^s) + (1 − p^t_y) · KL(p̂^t ‖ p̂^s), for one sample."""
    one = {"logits": T[:1]}
    beta = 1 - softmax(T[:1] / 2)[0, Y[0]]
    got = total("dkd", {"warmup": 0.0, "beta": beta, "temperature": 2.0}, S[:1], one, Y[:1])
    assert got == pytest.approx(4 * kl(softmax(T[:1] / 2), softmax(S[:1] / 2)), abs=1e-9)


def test_dkd_by_hand():
    """Label 0; teacher (½, ¼, ¼) against a uniform student, T = 1: b = (½, ½) against (⅓, ⅔), the others agree."""
    got = found(
        "dkd", {"warmup": 0.0, "temperature": 1.0}, np.zeros((1, 3)), {"logits": np.log([[0.5, 0.25, 0.25]])}, [0]
    )
    assert got == pytest.approx({"target": 0.5 * np.log(1.5) + 0.5 * np.log(0.75), "others": 0}, abs=1e-12)


# --- dist


def pearson(a, b):
    return np.mean([np.corrcoef(x, y)[0, 1] for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dist(temperature):
    p, q = softmax(S / temperature), softmax(T / temperature)
    expected = {"samples": 2 * 0.5 * (1 - pearson(p, q)), "classes": 2 * 3 * (1 - pearson(p.T, q.T))}
    expected = {key: temperature**2 * value for key, value in expected.items()}
    got = found("dist", {"weight": 2.0, "beta": 0.5, "gamma": 3.0, "temperature": temperature})
    assert got == pytest.approx(expected, abs=2e-4)  # NumPy has no ε; the next test knows it
    eps = expected_with_eps(p, q)
    assert got["samples"] == pytest.approx(temperature**2 * (1 - eps[0]), abs=1e-9)
    assert got["classes"] == pytest.approx(temperature**2 * 6 * (1 - eps[1]), abs=1e-9)


def expected_with_eps(p, q):
    def one(a, b):
        a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
        return ((a * b).sum(1) / (np.sqrt((a**2).sum(1) * (b**2).sum(1)) + 1e-8)).mean()

    return one(p, q), one(p.T, q.T)


def test_dist_by_hand():
    """Two samples that the student ranks the other way round: every correlation is −1, so 2 · 2 · 4² with the defaults."""
    z = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert found("dist", {}, z, {"logits": -z}, [0, 1]) == pytest.approx({"samples": 64, "classes": 64}, abs=1e-4)


def test_dist_is_by_default_the_release_s_on_cifar_100():
    p, q = softmax(S / 4), softmax(T / 4)
    expected = {"samples": 16 * 2 * (1 - pearson(p, q)), "classes": 16 * 2 * (1 - pearson(p.T, q.T))}
    assert found("dist") == pytest.approx(expected, abs=1e-3)


# --- lskd


def standard(z):
    return (z - z.mean(1, keepdims=True)) / (z.std(1, keepdims=True) + 1e-7)


def test_lskd():
    expected = 9 * 4 * kl(softmax(standard(T) / 2), softmax(standard(S) / 2))
    assert found("lskd")["teacher"] == pytest.approx(expected, abs=1e-9)
    assert card("lskd").weight_ce == 0.1


def test_lskd_sees_neither_scale_nor_offset():
    moved = 0.3 * T + RNG.normal(size=(B, 1))
    assert total("lskd", student=moved) == pytest.approx(0, abs=1e-9)


def test_lskd_by_hand():
    """Three logits in equal steps standardise to (a, 0, −a), a = √(3/2). Against the other order at T = 2: KL = a (p₃ − p₁)."""
    got = found("lskd", {"weight": 1.0}, np.array([[5.0, 4.0, 3.0]]), {"logits": np.array([[-7.0, -2.0, 3.0]])}, [0])
    a = np.sqrt(1.5)
    apart = 2 * np.sinh(a / 2) / (1 + 2 * np.cosh(a / 2))  # p₃ − p₁
    assert got["teacher"] == pytest.approx(4 * a * apart, abs=1e-6)


# --- mse


def test_mse():
    assert found("mse", {"weight": 3.0})["teacher"] == pytest.approx(3 * ((S - T) ** 2).mean(), abs=1e-9)
    gap = (S - S.mean(0)) - (T - T.mean(0))
    assert found("mse", {"centred": True})["teacher"] == pytest.approx((gap**2).mean(), abs=1e-9)
    by_hand = found("mse", {}, np.array([[1.0, 2.0]]), {"logits": np.array([[0.0, 4.0]])}, [0])
    assert by_hand["teacher"] == pytest.approx(2.5, abs=1e-12)


def test_centred_mse_is_comparison_over_all_pairs():
    """ckd-mse over all pairs = 2B / (B − 1) · centred mse, as one closed form and by brute force."""
    centred = found("mse", {"centred": True})["teacher"]
    pairs = difference_mse(torch.tensor(S), torch.tensor(T), in_batch(B, torch.tensor(group_weights(2)))).item()
    brute = np.mean([((S[i] - S[j] - T[i] + T[j]) ** 2).mean() for i in range(B) for j in range(B) if i != j])
    assert pairs == pytest.approx(2 * B / (B - 1) * centred, abs=1e-9)
    assert brute == pytest.approx(2 * B / (B - 1) * centred, abs=1e-9)


# --- no teacher


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing(smoothing):
    target = (1 - smoothing) * ONE_HOT + smoothing / C
    got = found("label-smoothing", {"smoothing": smoothing}, teacher={"logits": T})
    assert got == pytest.approx({"labels": -(target * log_softmax(S)).sum(1).mean()}, abs=1e-9)


def test_tf_kd():
    virtual = np.where(ONE_HOT > 0, 0.99, 0.01 / (C - 1))
    expected = {"labels": 0.9 * ce(S), "virtual": 0.1 * kl(softmax(virtual / 20), softmax(S))}
    assert found("tf-kd") == pytest.approx(expected, abs=1e-9)
    assert found("tf-kd", {"alpha": 0.0})["labels"] == pytest.approx(ce(S), abs=1e-9)
    at_best = found("tf-kd", {"alpha": 1.0}, student=virtual / 20 + 3)
    assert at_best == pytest.approx({"labels": 0, "virtual": 0}, abs=1e-12)


@pytest.mark.parametrize("name", ["label-smoothing", "tf-kd"])
def test_no_teacher_is_read_or_paid(name):
    assert (card(name).signals, card(name).calls, card(name).weight_ce) == ((), 0.0, 0.0)
    assert np.isfinite(total(name, teacher={}))


@pytest.mark.parametrize(
    ("name", "key"), [("label-smoothing", "smoothing"), ("tf-kd", "alpha"), ("tf-kd", "correct"), ("r2kd", "share")]
)
def test_shares_above_one_are_refused(name, key):
    with pytest.raises(UserError, match=rf"methods\.{name}\.{key}: found 1\.5, expected 0 to 1"):
        build(name, {key: 1.5})


# --- ofa


def ofa(z, eps, temperature=1.0):
    target = (softmax(T / temperature) + ONE_HOT) ** eps - ONE_HOT
    return -(target * log_softmax(z / temperature)).sum(1).mean(), target


@pytest.mark.parametrize(("eps", "temperature"), [(1.0, 1.0), (1.5, 1.0), (1.4, 2.0)])
def test_ofa_on_the_student_s_own_logits(eps, temperature):
    got = found("ofa", {"eps": eps, "temperature": temperature, "weight": 2.0})
    assert got == pytest.approx({"exit_logits": 2 * ofa(S, eps, temperature)[0]}, abs=1e-9)
    if eps == 1:
        assert got["exit_logits"] == pytest.approx(-2 * (softmax(T) * log_softmax(S)).sum(1).mean(), abs=1e-9)


def test_ofa_is_least_at_the_enlarged_target():
    _, target = ofa(S, 1.5)
    best = total("ofa", {"eps": 1.5}, student=np.log(target))
    assert all(
        best < total("ofa", {"eps": 1.5}, student=np.log(target) + 0.1 * RNG.normal(size=(B, C))) for _ in range(10)
    )


def test_ofa_has_an_exit_a_stage_and_each_learns():
    signals = {"logits": S, "embedding": np.zeros((B, 5)), **MAPS}
    objective = made("ofa", {}, context_of(signals, TEACHER, labels=Y, classes=C))
    got, gradients = terms(objective, signals, batch_of(Y, TEACHER))
    assert set(got) == {"exit_logits", "exit_map1", "exit_map2"}
    assert all(gradients[name].abs().sum() > 0 for name in ("logits", *MAPS))
    assert all(p.grad.abs().sum() > 0 for p in objective.parameters())
    with torch.no_grad():  # an exit by the formula, from the logits that its head gives
        z = objective.method.exits["map2"](torch.tensor(MAPS["map2"])).numpy()
    assert got["exit_map2"] == pytest.approx(ofa(z, 1.0)[0], abs=1e-9)


# --- what holds for several


@pytest.mark.parametrize("name", ["dkd", "dist", "lskd", "mse", "r2kd"])
def test_a_student_that_is_its_teacher_has_no_loss(name):
    same = total(name, student=T, teacher={"logits": T, "pruned": T})
    assert same == pytest.approx(0, abs=1e-4)  # dist and r2kd: ε in the correlation
    assert total(name) > 0.01


@pytest.mark.parametrize("name", LOGITS)
def test_the_order_of_the_batch_does_not_matter(name):
    order = RNG.permutation(B)
    moved = {signal: value[order] for signal, value in TEACHER.items()}
    assert found(name) == pytest.approx(found(name, None, S[order], moved, Y[order]), abs=1e-9)


@pytest.mark.parametrize("name", LOGITS)
def test_halves_in_the_export_change_the_loss_little(name):
    halves = {signal: value.astype(np.float16).astype(np.float64) for signal, value in TEACHER.items()}
    assert total(name, teacher=halves) == pytest.approx(total(name), rel=2e-3)


@pytest.mark.parametrize("name", LOGITS)
def test_bf16_and_large_logits_stay_finite(name):
    student = torch.full((B, C), 3e4).index_fill(1, torch.tensor([3]), -3e4).requires_grad_()
    objective = made(name, {"weight_ce": 1.0} if card(name).weight_ce else {}, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        batch = batch_of(Y, {"logits": -student.detach(), "pruned": -student.detach()})
        loss = sum(objective({"logits": student}, batch).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


# --- ranks


def test_soft_ranks_become_ranks():
    scores = np.round(S, 0)  # with ties
    expected = np.stack([rankdata(row) for row in scores])
    np.testing.assert_allclose(soft_rank(torch.tensor(scores), 1e-3).numpy(), expected, atol=1e-9)
    rho = [spearmanr(a, b).statistic for a, b in zip(scores, T, strict=True)]
    got = soft_spearman(torch.tensor(scores), torch.tensor(T), 1e-4).numpy()
    np.testing.assert_allclose(got, rho, atol=1e-6)


def test_soft_ranks_have_a_gradient_that_puts_scores_in_order():
    scores = torch.tensor([[0.0, 0.5, 1.0]], dtype=torch.float64, requires_grad=True)
    soft_spearman(scores, torch.tensor([[3.0, 2.0, 1.0]], dtype=torch.float64), 1.0).sum().backward()
    assert scores.grad[0, 0] > 0 > scores.grad[0, 2]
