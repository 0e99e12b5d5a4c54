"""What is made of texts before any is bought: features that cost no call."""

import numpy as np

from tuition.inputs.texts.tuition_texts import tokens

DIMENSIONS = 512
READING = {"tokens": "hashed", "vocabulary": (1 << 31) - 1, "max_tokens": 1024}


def features(samples: np.ndarray) -> np.ndarray:
    """texts (n,) -> (n, DIMENSIONS) float64 of length 1: n-grams, each counted at a place and with a sign that its hash says."""
    found, starts = tokens(samples, READING)
    owner = np.repeat(np.arange(len(samples)), np.diff(starts))
    place, sign = found // 2 % DIMENSIONS, 1.0 - 2.0 * (found % 2)
    counts = np.bincount(owner * DIMENSIONS + place, sign, minlength=len(samples) * DIMENSIONS)
    vectors = counts.reshape(len(samples), DIMENSIONS)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
