"""Losses on embeddings against independent float64 NumPy computations, values by hand, minima and invariances."""

import numpy as np
import pytest
import torch
from support.methods import batch_of, context_of, made, terms

from tuition.errors import UserError
from tuition.methods import build

RNG = np.random.default_rng(2)
B, C, DS, DT, N = 10, 4, 5, 8, 30
BANK = RNG.normal(size=(N, DT))
S, T = RNG.normal(size=(B, DS)), BANK[:B]
Y_ALL = np.arange(N) % C
Y = Y_ALL[:B]
ALL = ["icd", "rrd", "crd", "rkd", "sp", "cc", "pkt"]
SMALL = {"rrd": {"bank": 20, "dimensions": 6}, "crd": {"negatives": 15, "dimensions": 6}, "icd": {"dimensions": 6}}


def objective_of(name, settings=None, bank=BANK, dtype=torch.float64, seed=0):
    context = context_of(
        signals(np.zeros((1, DS))),
        {"embedding": bank, "logits": bank[:, :C]},
        labels=Y_ALL[: len(bank)],
        classes=C,
        seed=seed,
    )
    return made(name, {**SMALL.get(name, {}), **(settings or {})}, context, dtype)


def signals(student):
    """An embedding with the logits that every student has."""
    return {"embedding": student, "logits": np.zeros((len(student), C))}


def found(name, settings=None, student=S, teacher=T, **more):
    objective = objective_of(name, settings)
    labels = Y_ALL[np.arange(len(student)) % N]
    return terms(objective, signals(student), batch_of(labels, {"embedding": teacher}, **more))[0], objective


def total(*arguments, **more):
    return sum(found(*arguments, **more)[0].values())


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def log_softmax(z):
    return z - z.max(1, keepdims=True) - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))


def linear(layer, x):
    return x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()


def huber(a, b):
    gap = np.abs(a - b)
    return np.where(gap < 1, gap**2 / 2, gap - 0.5).mean()


# --- rkd


def rkd(x):
    """Distances over their positive mean, and cosines of all angles, by loops over the definition."""
    n = len(x)
    far = np.array([[np.linalg.norm(a - b) for b in x] for a in x])
    angles = np.zeros((n, n, n))
    for i in range(n):
        away = np.stack([(x[j] - x[i]) / far[i, j] if far[i, j] > 0 else 0 * x[i] for j in range(n)])
        angles[i] = away @ away.T
    return far / far[far > 0].mean(), angles


def test_rkd():
    (far, angle), (far_t, angle_t) = rkd(S), rkd(T)
    expected = {"distance": 25 * huber(far, far_t), "angle": 50 * huber(angle, angle_t)}
    assert found("rkd")[0] == pytest.approx(expected, abs=1e-9)
    assert found("rkd", {"weight_angle": 0.0})[0] == pytest.approx({"distance": expected["distance"]}, abs=1e-9)


def test_rkd_by_hand():
    """A right angle against a straight line of equal steps, three points: ¹⁄₉ · 2 · Σ over pairs of Huber(Δd / mean)."""
    corner, line = np.array([[0.0, 0], [1, 0], [0, 1]]), np.array([[0.0, 0], [1, 0], [-1, 0]])
    pad = [np.pad(x, ((0, 0), (0, width - 2))) for x, width in ((corner, DS), (line, DT))]
    m, n = (2 + np.sqrt(2)) / 3, 4 / 3
    distance = 2 * (2 * (1 / m - 1 / n) ** 2 / 2 + (np.sqrt(2) / m - 2 / n) ** 2 / 2) / 9
    # At the corner the cosine is 0 against −1, twice in 27: Huber ½. At the ends it is cos 45° against 1, four times.
    angle = (2 * 0.5 + 4 * (1 - np.sqrt(0.5)) ** 2 / 2) / 27
    got = found("rkd", {"weight_distance": 1.0, "weight_angle": 1.0}, *pad)[0]
    assert got == pytest.approx({"distance": distance, "angle": angle}, abs=1e-9)


def test_rkd_in_chunks_is_the_same(monkeypatch):
    whole, one = found("rkd")
    _, gradient = terms(one, signals(S), batch_of(Y, {"embedding": T}))
    monkeypatch.setattr("tuition.methods.rkd.ENTRIES", 3 * B * B)
    parts, gradient_parts = terms(one, signals(S), batch_of(Y, {"embedding": T}))
    assert parts == pytest.approx(whole, abs=1e-12)
    torch.testing.assert_close(gradient["embedding"], gradient_parts["embedding"], atol=1e-12, rtol=0)


def test_rkd_with_samples_at_one_place():
    """Two equal samples, and all equal: finite, and the formula where it is defined."""
    twice = S.copy()
    twice[1] = twice[0]
    far, angle = rkd(twice)
    far_t, angle_t = rkd(T)
    got = found("rkd", student=twice)[0]
    assert got["distance"] == pytest.approx(25 * huber(far, far_t), abs=1e-9)
    assert got["angle"] == pytest.approx(50 * huber(angle, angle_t), abs=1e-9)
    assert np.isfinite(total("rkd", student=np.ones((B, DS))))


@pytest.mark.parametrize("name", ["rkd", "crd"])
def test_on_logits(name):
    objective = objective_of(name, {"on": "logits"})
    assert objective.method.signals == ("logits",)
    z = RNG.normal(size=(B, C))
    got = terms(objective, {"logits": z, "embedding": S}, batch_of(Y, {"logits": T[:, :C]}))[1]
    assert got["logits"].abs().sum() > 0
    assert got["embedding"] is None
    assert build(name, {}).method.signals == ("embedding",)


# --- sp, cc, pkt


def test_sp():
    rows = [unit(x @ x.T) for x in (S, T)]
    assert total("sp") == pytest.approx(3000 * ((rows[0] - rows[1]) ** 2).sum() / B**2, abs=1e-9)


def test_sp_by_hand():
    """Two samples: orthogonal for the student (rows (1, 0), (0, 1)), equal for the teacher (rows (1, 1) / √2)."""
    student, teacher = np.eye(2, DS), np.ones((2, DT))
    expected = 2 * ((1 - np.sqrt(0.5)) ** 2 + 0.5) / 4
    assert total("sp", {"weight": 1.0}, student, teacher) == pytest.approx(expected, abs=1e-9)


def test_cc():
    got, objective = found("cc")
    gap = np.abs(linear(objective.method.head, S) - linear(objective.method.teacher_head, T))
    assert got["teacher"] == pytest.approx(0.02 * np.mean([gap[i] @ gap[i + 1] for i in range(B - 1)]), abs=1e-9)
    assert all(p.grad.abs().sum() > 0 for p in objective.parameters())  # the teacher's head too


def test_cc_depends_on_the_order_of_the_batch():
    """The known defect: said, and kept."""
    order = np.argsort(S[:, 0])
    assert total("cc", student=S[order], teacher=T[order]) != pytest.approx(total("cc"), rel=1e-6)


def pkt(x):
    p = (1 + unit(x) @ unit(x).T) / 2
    return p / p.sum(1, keepdims=True)


def test_pkt():
    p, q = pkt(T), pkt(S)
    assert total("pkt") == pytest.approx(30000 * (p * np.log((p + 1e-7) / (q + 1e-7))).mean(), abs=1e-7)


def test_pkt_by_hand():
    """Two samples: orthogonal for the student (rows (⅔, ⅓)), equal for the teacher (rows (½, ½))."""
    got = total("pkt", {"weight": 1.0}, np.eye(2, DS), np.ones((2, DT)))
    assert got == pytest.approx((np.log(0.75) + np.log(1.5)) / 4, abs=1e-6)


# --- icd


def test_icd():
    got, objective = found("icd", {"weight": 2.0})
    u, v = unit(linear(objective.method.head, S)), unit(linear(objective.method.teacher_head, T))
    z = np.e * u @ v.T
    rows, columns = log_softmax(z), log_softmax(z.T)
    assert got["contrast"] == pytest.approx(-2 * np.diag(rows).mean(), abs=1e-6)  # e in float32
    kl = (np.exp(columns) * (columns - rows)).sum(1).mean()
    assert got["invariance"] == pytest.approx(2 * 0.5 * kl, abs=1e-6)
    assert all(p.grad.abs().sum() > 0 for name, p in objective.named_parameters() if "offset" not in name)


def test_icd_offset_has_no_effect_and_the_scale_is_clipped():
    objective = objective_of("icd")
    batch = batch_of(Y, {"embedding": T})

    def at(offset, log_scale):
        objective.method.offset.data.fill_(offset)
        objective.method.log_scale.data.fill_(log_scale)
        return sum(terms(objective, signals(S), batch)[0].values())

    assert at(5.0, 1.0) == pytest.approx(at(0.0, 1.0), abs=1e-9)
    assert at(0.0, 9.0) == pytest.approx(at(0.0, np.log(10)), abs=1e-6)
    assert at(0.0, 1.0) != pytest.approx(at(0.0, 2.0), abs=1e-3)


# --- rrd


def test_rrd():
    got, objective = found("rrd")
    method = objective.method
    s, t = unit(linear(method.head, S)), unit(T @ method.projection.numpy())
    bank = method.bank.numpy()
    assert bank.shape == (20, 6)
    p, q = np.exp(log_softmax(t @ bank.T / 0.02)), log_softmax(s @ bank.T / 0.1)
    assert got["teacher"] == pytest.approx(-(p * q).sum(1).mean(), abs=1e-9)


def test_rrd_bank_is_rows_of_the_export_each_once_and_the_projection_is_fixed():
    method = objective_of("rrd", {"bank": 100}).method
    rows = unit(BANK @ method.projection.numpy())
    nearest = np.abs(method.bank.numpy()[:, None] - rows[None]).max(-1).argmin(1)
    assert sorted(nearest) == list(range(N))  # K ≤ n
    np.testing.assert_allclose(method.bank.numpy(), rows[nearest], atol=1e-5)
    assert {name for name, _ in method.named_parameters()} == {"head.weight", "head.bias"}
    again, other = (objective_of("rrd", {"bank": 100}, seed=seed).method.bank for seed in (0, 1))
    assert torch.equal(method.bank, again)
    assert not torch.equal(method.bank, other)


def test_rrd_is_least_where_the_student_s_relations_are_the_teacher_s():
    """At equal temperatures and equal embeddings the loss is the entropy of the teacher's side, its least value."""
    settings = {"temperature_student": 0.1, "temperature_teacher": 0.1}
    method = objective_of("rrd", settings).method
    t = unit(T @ method.projection.numpy())
    p = log_softmax(t @ method.bank.numpy().T / 0.1)
    method.head = torch.nn.Identity()
    loss = method({"embedding": torch.tensor(t)}, batch_of(Y, {"embedding": T}))["teacher"].item()
    assert loss == pytest.approx(-(np.exp(p) * p).sum(1).mean(), abs=1e-9)
    moved = torch.tensor(t + 0.1 * RNG.normal(size=t.shape))
    assert method({"embedding": moved}, batch_of(Y, {"embedding": T}))["teacher"].item() > loss


# --- what holds for several


@pytest.mark.parametrize("name", ["rkd", "sp", "pkt"])
def test_a_student_that_is_its_teacher_turned_and_scaled_has_no_loss(name):
    """Relations of samples see neither a rotation nor a common scale of the embeddings."""
    turned = 3 * T @ np.linalg.qr(RNG.normal(size=(DT, DT)))[0]
    assert total(name, student=turned) == pytest.approx(0, abs=1e-7)
    assert total(name) > 0.01


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("cc", "crd")])
def test_the_order_of_the_batch_does_not_matter(name):
    order = RNG.permutation(B)
    assert found(name)[0] == pytest.approx(found(name, student=S[order], teacher=T[order])[0], abs=1e-8)


@pytest.mark.parametrize("name", ALL)
def test_halves_in_the_export_change_the_loss_little(name):
    assert total(name, teacher=T.astype(np.float16).astype(np.float64)) == pytest.approx(total(name), rel=5e-3)


@pytest.mark.parametrize("size", [3e4, 1e-6])
@pytest.mark.parametrize("name", ALL)
def test_bf16_and_large_or_small_embeddings_stay_finite(name, size):
    halves = torch.tensor(BANK).half()
    objective = objective_of(name, bank=halves, dtype=torch.float32)
    student = torch.tensor(S * size, dtype=torch.float32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        batch = batch_of(Y, {"embedding": torch.tensor(T * size, dtype=torch.float32)})
        loss = sum(objective({"embedding": student, "logits": torch.zeros(B, C)}, batch).values())
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", ALL)
def test_autocast_does_not_touch_the_loss(name):
    """The relations are computed in full precision: the same number with bf16 autocast as without."""
    values = []
    for enabled in (True, False):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            objective = objective_of(name, dtype=torch.float32)
            batch = batch_of(Y, {"embedding": torch.tensor(T).float()})
            values.append(
                sum(
                    objective({"embedding": torch.tensor(S).float(), "logits": torch.zeros(B, C)}, batch).values()
                ).item()
            )
    assert values[0] == values[1]


@pytest.mark.parametrize(("name", "key"), [("rrd", "bank"), ("crd", "negatives")])
def test_an_empty_bank_is_refused(name, key):
    with pytest.raises(UserError, match=rf"methods\.{name}\.{key}: found 0, expected at least 1"):
        build(name, {key: 0})
