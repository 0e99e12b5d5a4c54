"""What a student's embedding is good for elsewhere: a linear probe, multinomial logistic regression on frozen embeddings.

Knows arrays only: neither files nor students. All in float64, full batches and a convex loss, so that it repeats.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

STRENGTHS = tuple(10.0**power for power in range(1, -7, -1))  # of the L2 term, strongest first
ITERATIONS = 200
Split = tuple[np.ndarray, np.ndarray]  # embeddings (N, d) of any float type, labels (N,) of any integer type


def linear_probe(train: Split, val: Split, test: Split, classes: int, device: torch.device) -> dict[str, float]:
    """`transfer_top1`, the share of `test` that is named right, and `transfer_l2`, the strength that `val` chose.

    Embeddings are standardised by the mean and deviation of `train`; a dimension without spread is left out. Of strengths
    that are equal on `val` the strongest is taken. `test` is looked at once, with the strength chosen.
    """
    mean, std = train[0].mean(axis=0, dtype=np.float64), train[0].std(axis=0, dtype=np.float64)
    alive = std > 1e-9 * np.maximum(1.0, np.abs(mean))

    def place(split: Split) -> tuple[Tensor, Tensor]:
        features = (split[0][:, alive].astype(np.float64) - mean[alive]) / std[alive]
        return torch.from_numpy(features).to(device), torch.from_numpy(np.array(split[1], np.int64)).to(device)

    (x, y), seen = place(train), place(val)
    weights = torch.zeros(classes, x.shape[1] + 1, dtype=torch.float64, device=device)  # the last column is the bias
    best, strength, chosen = -1.0, STRENGTHS[0], weights
    for l2 in STRENGTHS:
        weights = fit(x, y, weights, l2)  # from the stronger one's solution, which is near
        right = _top1(weights, *seen)
        if right > best:
            best, strength, chosen = right, l2, weights
    return {"transfer_top1": _top1(chosen, *place(test)), "transfer_l2": strength}


def fit(x: Tensor, y: Tensor, start: Tensor, l2: float) -> Tensor:
    """The minimum over W (C, d + 1) of mean cross-entropy + l2/2 · ‖W‖² without the bias; x (N, d), y (N,), by L-BFGS."""
    weights = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [weights], max_iter=ITERATIONS, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(_scores(weights, x), y) + l2 / 2 * weights[:, :-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach()


def _scores(weights: Tensor, x: Tensor) -> Tensor:
    return x @ weights[:, :-1].T + weights[:, -1]


def _top1(weights: Tensor, x: Tensor, y: Tensor) -> float:
    return float((_scores(weights, x).argmax(dim=1) == y).double().mean())
