"""Methods of language models: their losses against float64 computations made another way, and what they may be given."""

import numpy as np
import pytest
import torch
from torch import nn

from tuition.errors import UserError
from tuition.losses import tokens
from tuition.losses.tokens import each, forward_kl, nll
from tuition.methods import BY_TASK, METHODS, build, card, resolve
from tuition.methods.language import LanguageBatch, LanguageStudent

N, WIDTH, VOCABULARY, TOP = 23, 6, 11, 4
LANGUAGE = BY_TASK["generate"]


@pytest.fixture
def drawn():
    """States, a head, targets, and a teacher's top k at each token with the whole of its distribution (N, V) float64."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(N, WIDTH, generator=generator)
    head = nn.Linear(WIDTH, VOCABULARY, bias=False)
    nn.init.normal_(head.weight, generator=generator)
    whole = torch.log_softmax(2 * torch.randn(N, VOCABULARY, generator=generator, dtype=torch.float64), dim=1)
    top = whole.topk(TOP, dim=1)
    targets = torch.randint(VOCABULARY, (N,), generator=generator)
    return states, head, targets, top.values.float(), top.indices, whole.numpy()


def log_q(states, head):
    logits = states.double().numpy() @ head.weight.detach().double().numpy().T
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_nll_is_that_of_float64(drawn):
    states, head, targets, *_ = drawn
    expected = [-log_q(states, head)[row, target] for row, target in enumerate(targets.tolist())]
    np.testing.assert_allclose(each(states, head, nll(targets)).detach().numpy(), expected, rtol=1e-5)


def test_forward_kl_holds_the_rest_as_one_token(drawn):
    states, head, _, values, indices, whole = drawn
    q, expected = np.exp(log_q(states, head)), []
    for row in range(N):
        kept = indices[row].tolist()
        p_of = [*np.exp(whole[row, kept]), 1 - np.exp(whole[row, kept]).sum()]
        q_of = [*q[row, kept], 1 - q[row, kept].sum()]
        expected.append(sum(p * np.log(p / other) for p, other in zip(p_of, q_of, strict=True)))
    found = each(states, head, forward_kl(values, indices)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


def test_with_all_tokens_it_is_the_whole_divergence(drawn):
    states, head, *_, whole = drawn
    top = torch.from_numpy(whole).topk(VOCABULARY, dim=1)
    expected = (np.exp(whole) * (whole - log_q(states, head))).sum(axis=1)
    found = each(states, head, forward_kl(top.values.float(), top.indices)).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_value_by_hand_and_the_least():
    """p = (½, ½ in the rest) against q = (¼, ¾): ½ ln 2 + ½ ln ⅔; and 0 where q is p."""
    values, indices = torch.tensor([[0.5]]).log(), torch.tensor([[0]])
    quarter = torch.tensor([[0.25, 0.75]]).log()
    loss = forward_kl(values, indices)
    assert float(loss(quarter, slice(0, 1))) == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3), rel=1e-5)
    assert float(loss(torch.tensor([[0.5, 0.5]]).log(), slice(0, 1))) == pytest.approx(0, abs=1e-6)


def test_chunks_change_neither_losses_nor_gradients(drawn, monkeypatch):
    states, head, _, values, indices, _ = drawn
    made = {}
    for size in (N, 5):
        monkeypatch.setattr(tokens, "CHUNK", size)
        given = states.clone().requires_grad_()
        loss = each(given, head, forward_kl(values, indices))
        loss.sum().backward()
        made[size] = loss.detach(), given.grad
    for whole, parts in zip(made[N], made[5], strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", LANGUAGE)
def test_each_is_the_mean_over_tokens(name, drawn):
    states, head, targets, values, indices, _ = drawn
    batch = LanguageBatch(torch.zeros(1, N), torch.arange(N), targets, values, indices, 0)
    terms = build(name).method(LanguageStudent(states, head), batch)
    loss = forward_kl(values, indices) if name == "token-kd" else nll(targets)
    assert [one.item() for one in terms.values()] == [pytest.approx(each(states, head, loss).mean().item())]


def test_they_are_told_apart_by_task():
    assert not set(METHODS) & set(LANGUAGE)
    assert {card(name).task for name in LANGUAGE} == {"generate"}
    with pytest.raises(UserError, match="is of classes; valid: 'seq-kd'"):
        resolve("seq-kd+kd", {})
