"""Losses of retrieval against independent float64 computations, pair by pair; values by hand; and what the registry refuses."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tuition.errors import UserError
from tuition.losses import retrieval as losses
from tuition.methods import BY_TASK, METHODS, RETRIEVAL, build, card, resolve
from tuition.methods.retrieval import RetrievalBatch, RetrievalContext

RNG = np.random.default_rng(3)
Q, K, S, T = 6, 9, 4, 5
RELEVANT = np.zeros((Q, K), dtype=bool)
RELEVANT[np.arange(Q - 1), np.arange(Q - 1)] = True  # the last query has none
RELEVANT[0, 7] = True


def unit(values):
    return values / np.linalg.norm(values, axis=1, keepdims=True)


OURS = {"query": unit(RNG.normal(size=(Q, S))), "document": unit(RNG.normal(size=(K, S)))}
THEIRS = {"query": unit(RNG.normal(size=(Q, T))), "document": unit(RNG.normal(size=(K, T)))}
SCORES, TAUGHT = OURS["query"] @ OURS["document"].T, THEIRS["query"] @ THEIRS["document"].T


def log_softmax(values):
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def batch():
    tokens = torch.zeros(Q, 1), torch.zeros(K, 1)
    teacher = {side: torch.from_numpy(values) for side, values in THEIRS.items()}
    return RetrievalBatch(*tokens, torch.from_numpy(RELEVANT), teacher, 0, torch.Generator())


def terms(name, **settings):
    torch.manual_seed(0)
    method = build(name, settings).method
    if hasattr(method, "setup"):
        method.setup(RetrievalContext(S, T))
    method = method.double()
    found = method({side: torch.from_numpy(values) for side, values in OURS.items()}, batch())
    return {key: float(value.detach()) for key, value in found.items()}, method


def projected(method, side):
    return unit(OURS[side] @ method.project.weight.detach().numpy().T)


def contrastive(scores):
    logits = log_softmax(scores / 0.05)
    each = [-np.mean([logits[q, d] for d in range(K) if RELEVANT[q, d]]) for q in range(Q) if RELEVANT[q].any()]
    return np.mean(each)


def test_margins_are_the_mean_over_every_pair_of_a_relevant_document_and_another():
    each = [
        ((SCORES[q, p] - SCORES[q, n]) - (TAUGHT[q, p] - TAUGHT[q, n])) ** 2
        for q in range(Q)
        for p in range(K)
        for n in range(K)
        if RELEVANT[q, p] and not RELEVANT[q, n]
    ]
    found, _ = terms("margin-mse")
    assert found == {"margins": pytest.approx(np.mean(each), rel=1e-12)}
    both, _ = terms("margin-mse", weight_label=2.0)
    assert both["labels"] == pytest.approx(2 * contrastive(SCORES), rel=1e-12)
    shifted = torch.from_numpy(TAUGHT + RNG.normal(size=(Q, 1)))  # what a query adds to all of its scores is no margin
    assert float(losses.margins(shifted, torch.from_numpy(TAUGHT), torch.from_numpy(RELEVANT))) == pytest.approx(
        0, abs=1e-12
    )


def test_the_listwise_divergence_is_that_of_two_distributions():
    ours, theirs = log_softmax(SCORES / 0.1), log_softmax(TAUGHT / 0.2)
    found, _ = terms("distill-kl", temperature=0.1, temperature_teacher=0.2)
    assert found["ranking"] == pytest.approx((np.exp(theirs) * (theirs - ours)).sum(axis=1).mean(), rel=1e-10)


def test_geometry_is_matched_by_sides_and_scores_and_by_comparisons():
    found, method = terms("embed-match", weight_document=3.0, comparisons=True, weight_comparisons=0.5)
    for side, weight in (("query", 1.0), ("document", 3.0)):
        apart = projected(method, side) - THEIRS[side]
        assert found[side] == pytest.approx(weight * np.linalg.norm(apart, axis=1).mean(), rel=1e-9)
        count = len(apart)
        pairs = [np.sum((apart[i] - apart[j]) ** 2) for i in range(count) for j in range(count) if i != j]
        assert found[f"{side}_comparisons"] == pytest.approx(0.5 * np.mean(pairs), rel=1e-9)
    assert found["scores"] == pytest.approx(np.mean((SCORES - TAUGHT) ** 2), rel=1e-12)
    assert set(terms("embed-match")[0]) == {"query", "document", "scores"}


def test_the_ladder_of_embed_distill():
    direct, _ = terms("embed-distill", weight_score=0.0, weight_query=0.0, documents="own")
    assert direct == {"labels": pytest.approx(contrastive(SCORES), rel=1e-12)}
    whole, method = terms("embed-distill")
    assert whole["labels"] == direct["labels"]
    cross = -(np.exp(log_softmax(TAUGHT / 0.05)) * log_softmax(SCORES / 0.05)).sum(axis=1).mean()
    assert whole["scores"] == pytest.approx(cross, rel=1e-12)
    apart = projected(method, "query") - THEIRS["query"]
    assert whole["query"] == pytest.approx(np.linalg.norm(apart, axis=1).mean(), rel=1e-9)
    assert build("embed-distill", {"weight_score": 0.0, "weight_query": 0.0, "documents": "own"}).signals == ()
    assert build("embed-distill", {}).signals == ("embedding",)


def test_a_student_that_has_the_teachers_geometry_has_nothing_to_learn():
    same = {side: torch.from_numpy(values) for side, values in THEIRS.items()}
    for name in ("embed-match", "margin-mse", "distill-kl"):
        method = build(name, {"comparisons": True} if name == "embed-match" else {}).method
        if hasattr(method, "setup"):
            method.setup(RetrievalContext(T, T))
        assert all(float(value) < 2e-6 for value in method(same, batch()).values()), name


def test_gradients_reach_the_student_and_not_the_teacher():
    for name in RETRIEVAL:
        torch.manual_seed(0)
        method = build(name, {}).method
        if hasattr(method, "setup"):
            method.setup(RetrievalContext(S, T))
        raw = {side: torch.tensor(values, requires_grad=True) for side, values in OURS.items()}
        ours = {side: F.normalize(values, dim=1) for side, values in raw.items()}
        torch.stack(list(method.double()(ours, batch()).values())).sum().backward()
        assert all(values.grad is not None and values.grad.abs().sum() > 0 for values in raw.values()), name


def test_a_query_without_a_relevant_document_has_no_say_in_what_is_relevant():
    scores = torch.from_numpy(SCORES)
    none = torch.zeros(Q, K, dtype=torch.bool)
    assert float(losses.contrastive(scores, none)) == 0
    assert float(losses.margins(scores, torch.from_numpy(TAUGHT), none)) == 0


def test_methods_of_retrieval_are_told_from_those_of_classes():
    assert not set(METHODS) & set(RETRIEVAL)
    assert {card(name).task for name in RETRIEVAL} == {"retrieval"}
    assert all(card(name).task == "classification" for name in METHODS)
    assert set(BY_TASK) == {"classification", "generate", "retrieval"}
    with pytest.raises(UserError, match=r"'\+kd'|\+kd is of classes"):
        resolve("embed-match+kd", {})
    with pytest.raises(UserError, match="weight_ce"):
        build("embed-match", {"weight_ce": 1.0})
    with pytest.raises(UserError, match=r"documents: found 'mine'"):
        build("embed-distill", {"documents": "mine"})
