"""Terms on labels of which some are unknown, against the plain functions on the labelled samples; and where all are known, to the bit."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tuition.comparisons import group_weights
from tuition.losses import labelled
from tuition.losses.comparisons import combined, difference, difference_mse, in_batch, listed
from tuition.losses.mixing import soft_cross_entropy
from tuition.methods import METHODS, card
from tuition.methods.protocol import LABEL_USES

B, C = 12, 5
RNG = np.random.default_rng(0)
LOGITS = torch.tensor(RNG.normal(size=(B, C)), dtype=torch.float32)
LABELS = torch.tensor(RNG.integers(C, size=B))
SOME = torch.where(torch.arange(B) % 3 == 1, -1, LABELS)
KEPT = SOME >= 0


def value_and_gradient(function, *arguments):
    logits = LOGITS.clone().requires_grad_()
    value = function(logits, *arguments)
    value.backward()
    return value.detach(), logits.grad


def pairs(logits, labels, groups):
    target = labelled.one_hot(labels, C).float()
    return difference_mse(logits, target, groups, labelled.is_known(labels))


def plain_pairs(logits, labels, groups):
    return difference_mse(logits, F.one_hot(labels, C).float(), groups)


def weights():
    return torch.tensor(group_weights(2), dtype=torch.float32)


def interpolated(size):
    return combined(in_batch(size, weights()), "add", torch.Generator())


TERMS = {  # with labels that may be unknown, and plain; for labels (n,)
    "cross-entropy": (labelled.cross_entropy, F.cross_entropy),
    "smoothed": (
        lambda x, y: labelled.cross_entropy(x, y, label_smoothing=0.1),
        lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1),
    ),
    "soft": (
        lambda x, y: soft_cross_entropy(x, labelled.one_hot(y, C), labelled.is_known(y)),
        lambda x, y: soft_cross_entropy(x, F.one_hot(y, C)),
    ),
    "all pairs": (
        lambda x, y: pairs(x, y, in_batch(len(y), weights())),
        lambda x, y: plain_pairs(x, y, in_batch(len(y), weights())),
    ),
    "all sums": (lambda x, y: pairs(x, y, interpolated(len(y))), lambda x, y: plain_pairs(x, y, interpolated(len(y)))),
}


@pytest.mark.parametrize("term", TERMS)
def test_with_every_label_nothing_changes_to_the_bit(term):
    ours, plain = (value_and_gradient(function, LABELS) for function in TERMS[term])
    for one, other in zip(ours, plain, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("term", TERMS)
def test_with_some_it_is_the_term_of_the_labelled_samples(term):
    function, plain = TERMS[term]
    value, gradient = value_and_gradient(function, SOME)
    expected, of_kept = value_and_gradient(lambda logits: plain(logits[KEPT], SOME[KEPT]))
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, of_kept, atol=1e-6)


@pytest.mark.parametrize("term", TERMS)
def test_with_none_it_is_nothing(term):
    value, gradient = value_and_gradient(TERMS[term][0], torch.full((B,), -1))
    assert value == 0
    assert not gradient.any()


def test_listed_groups_count_where_all_members_have_labels():
    groups = listed(B // 2, weights())
    deltas = difference(LOGITS - labelled.one_hot(SOME, C).float(), groups)
    whole = KEPT.view(-1, 2).all(1)
    assert 0 < whole.sum() < len(whole)
    assert pairs(LOGITS, SOME, groups).item() == pytest.approx(deltas[whole].square().mean().item(), rel=1e-5)


def test_every_card_says_what_labels_it_needs():
    assert {card(name).label_use for name in METHODS} <= set(LABEL_USES) - {"all"}
