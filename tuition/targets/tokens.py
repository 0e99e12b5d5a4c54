"""An answer that is a text: its tokens, and at each of them the k likeliest with their log-probabilities, by the teacher.

A text of at most L tokens is kept as `text` (L,) int32, `top_indices` (L, k) int32 and `top_values` (L, k) float32, natural logarithms,
the likeliest first. Behind the end of a text, tokens and indices are −1 and values 0. What the k leave out is the rest of the mass.
"""

import numpy as np

NONE = -1
MASS = 1e-3  # by how much rounding may lift the mass of k probabilities above 1
SIGNALS = ("text", "top_values", "top_indices")


def pack(
    texts: list[list[int]], values: list[np.ndarray], indices: list[np.ndarray], most: int
) -> dict[str, np.ndarray]:
    """B answers, values and indices of each (l, k) -> {signal: (B, most, …)}."""
    k = values[0].shape[1]
    text = np.full((len(texts), most), NONE, dtype=np.int32)
    top_values = np.zeros((len(texts), most, k), dtype=np.float32)
    top_indices = np.full((len(texts), most, k), NONE, dtype=np.int32)
    for row, (ids, value, index) in enumerate(zip(texts, values, indices, strict=True)):
        text[row, : len(ids)] = ids
        top_values[row, : len(ids)], top_indices[row, : len(ids)] = value, index
    return {"text": text, "top_values": top_values, "top_indices": top_indices}


def unpack(text: np.ndarray) -> list[list[int]]:
    """The tokens of texts (n, L), each without what is behind its end."""
    return [row[row != NONE].tolist() for row in text]


def fault(text: np.ndarray, values: np.ndarray, indices: np.ndarray) -> str:
    """Why one answer, text (L,), values and indices (L, k), cannot be used; empty where it can. Values are finite."""
    known = np.asarray(text) != NONE
    length = int(known.sum())
    if not length:
        return "text: it is empty"
    if not known[:length].all() or (text[:length] < 0).any():
        return "text: a token is missing within it"
    inside, which = np.asarray(values[:length], dtype=np.float64), indices[:length]
    if (which < 0).any() or (np.diff(np.sort(which, axis=1), axis=1) == 0).any():
        return f"top_indices: a token has not {indices.shape[1]} different ones"
    if (np.diff(inside, axis=1) > 0).any():
        return "top_values: they do not descend"
    if (mass := float(np.exp(inside).sum(axis=1).max())) > 1 + MASS:
        return (
            f"top_values: the probabilities of a token sum to {mass:.4g}, more than 1; natural logarithms are expected"
        )
    return ""


def left_out(values: np.ndarray, text: np.ndarray) -> np.ndarray:
    """The mass (T,) that the k leave out at each of the T tokens of texts (n, L)."""
    return np.clip(1 - np.exp(values[text != NONE].astype(np.float64)).sum(axis=1), 0, 1)
