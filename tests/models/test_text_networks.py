"""Networks of texts: what stands behind a text changes nothing, they trace for any number and length of texts, they learn."""

import pytest
import torch
from torch import nn

from tuition.errors import UserError
from tuition.models import TOKENS, check_arch, make, signals

MODEL = {"inputs": "texts", "vocabulary": 500, "max_tokens": 40, "classes": 3, "taps": []}


@pytest.fixture(params=TOKENS)
def network(request):
    torch.manual_seed(0)
    return make({**MODEL, "arch": request.param, "tokens": TOKENS[request.param]}).eval()


def tokens(*shape):
    return torch.randint(1, 500, shape, generator=torch.Generator().manual_seed(0), dtype=torch.int32)


def test_embedding_and_classifier_together_give_the_logits(network):
    found = signals(network, tokens(4, 9))
    assert found["embedding"].shape[1] == network.get_classifier().in_features
    torch.testing.assert_close(network.get_classifier()(found["embedding"]), found["logits"])
    torch.testing.assert_close(network(tokens(4, 9)), found["logits"])


@pytest.mark.parametrize("length", [1, 2, 7])
def test_what_stands_behind_a_text_changes_nothing(network, length):
    short = tokens(2, length)
    longer = nn.functional.pad(short, (0, 11))
    torch.testing.assert_close(network(longer), network(short))
    assert network(torch.zeros(2, 4, dtype=torch.int32)).isfinite().all()  # a text without a token


def test_a_trace_takes_any_number_of_texts_of_any_length(network):
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    traced = torch.export.export(network, (tokens(4, 4),), dynamic_shapes=(axes,)).module()
    for shape in ((1, 1), (1, 6), (5, 1), (3, 33)):
        torch.testing.assert_close(traced(tokens(*shape)), network(tokens(*shape)))


def test_the_order_of_words_is_what_convolutions_see_and_sums_do_not(network):
    one = torch.tensor([[1, 2, 3, 4, 5, 6]])
    same = torch.allclose(network(one), network(one.flip(1)), atol=1e-6)
    assert same == (network.arch in ("ngram", "static"))


def test_they_learn(network):
    x = tokens(60, 12)
    labels = x[:, 0].long() % 3
    x[:, 0] = 1 + labels  # the class is a token
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network.eval()(x).argmax(1) == labels).float().mean() == 1
    assert not network.embedding.weight[0].any()  # no token stays none


def test_names_are_told_by_what_they_take():
    check_arch("student.arch", "ngram", "texts")
    with pytest.raises(
        UserError, match=r"student\.arch: 'resnet8' is not known\. Valid: ngram, static, text-cnn, text-transformer"
    ):
        check_arch("student.arch", "resnet8", "texts")
    with pytest.raises(UserError, match=r"student\.arch: 'text-cnn' is not known"):
        check_arch("student.arch", "text-cnn")
