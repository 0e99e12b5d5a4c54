"""Propagation: estimates smoothed over the graph of nearest neighbours of the whole pool (Zhou et al. 2004 [abs]).

A is the symmetric graph with weights exp(β (cos − 1)) of the k nearest by cosine, S = D^-½ A D^-½. From the estimates F (bought rows hold
their answers), `rounds` times Z ← α S Z + (1 − α) F, either of logits or of probabilities. Which of these, or none, is chosen at the
bought samples: there F holds the estimates made without their own answers. Memory: N·k indices and weights; time O(N² d), so it is for
pools of up to some hundred thousand samples.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import sparse

from tuition.estimators.protocol import best_scale, softmax

NEIGHBOURS, SHARPNESS, ALPHA = 20, 10.0, 0.8
ROWS = 1000  # of the similarities held at a time
FLOOR = 1e-6
Space = Literal["none", "logits", "probabilities"]
CHOICES: tuple[tuple[Space, int], ...] = (("none", 0), ("logits", 1), ("logits", 3), ("probabilities", 1), ("probabilities", 3))


@dataclass(frozen=True)
class Smoothed:
    """`logits` (N, C) float32 of the whole pool; `held_out` (n, C) of the bought samples without their own answers; what was chosen."""

    logits: np.ndarray
    held_out: np.ndarray
    space: Space
    rounds: int


def graph(features: np.ndarray, neighbours: int = NEIGHBOURS, sharpness: float = SHARPNESS) -> sparse.csr_array:
    """S (N, N) of features (N, d)."""
    wide = features.astype(np.float32)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    count, k = len(unit), min(neighbours, len(unit) - 1)
    places, cosines = np.empty((count, k), np.int32), np.empty((count, k), np.float32)
    for start in range(0, count, ROWS):
        block = unit[start : start + ROWS] @ unit.T
        block[np.arange(len(block)), np.arange(start, start + len(block))] = -np.inf
        best = np.argpartition(block, -k, axis=1)[:, -k:]
        places[start : start + ROWS], cosines[start : start + ROWS] = best, np.take_along_axis(block, best, axis=1)
    weights = np.exp(sharpness * (cosines - 1))
    rows = np.repeat(np.arange(count), k)
    near = sparse.csr_array((weights.ravel(), (rows, places.ravel())), shape=(count, count))
    near = near.maximum(near.T)
    degree = 1 / np.sqrt(np.maximum(near.sum(axis=1), 1e-12)).astype(np.float32)
    return sparse.csr_array(sparse.diags_array(degree) @ near @ sparse.diags_array(degree))


def propagate(s: sparse.csr_array, estimates: np.ndarray, bought: np.ndarray, answers: np.ndarray, held_out: np.ndarray) -> Smoothed:
    """Smooth `estimates` (N, C) over the graph `s`; `bought` (n,) are the rows whose `answers` (n, C) are known."""
    target = softmax(answers)
    blind, known = estimates.astype(np.float32), estimates.astype(np.float32)
    blind[bought], known[bought] = held_out, answers
    losses = []
    for space, rounds in CHOICES:
        scale, loss = best_scale(target, _smooth(s, blind, space, rounds)[bought])
        losses.append((loss, scale, space, rounds))
    _, scale, space, rounds = min(losses, key=lambda one: one[0])
    factor = np.float32(scale)
    return Smoothed(factor * _smooth(s, known, space, rounds), factor * _smooth(s, blind, space, rounds)[bought], space, rounds)


def _smooth(s: sparse.csr_array, logits: np.ndarray, space: Space, rounds: int) -> np.ndarray:
    first = softmax(logits).astype(np.float32) if space == "probabilities" else logits
    values = first
    for _ in range(rounds):
        values = ALPHA * (s @ values) + (1 - ALPHA) * first
    return np.log(np.maximum(values, FLOOR)) if space == "probabilities" else values
