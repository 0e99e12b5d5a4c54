"""Any texts -> tokens: how students of texts read in training, and how a registered one reads what it is sent.

MLflow copies this file into a registered student, so that both do the same. It needs numpy, for all but `hashed` the library tokenizers,
and nothing of this project. Facts of a student: `tokens` (hashed; bpe, learnt from the pool; encoder, an encoder's own, with what it puts
before and behind a text; pieces, the same without that), `vocabulary` (how many tokens there are; 0 stands for none), `max_tokens` (of a
text; what is behind them is not read), and for all but hashed `tokenizer`, the text of the library's JSON file.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

BATCH = 1024  # texts at a time: more are slower, as they do not fit into a processor's cache
COLUMN = "text"  # of a table with texts
PER_TOKEN = 32  # characters that are looked at for each token of max_tokens, so that a text of megabytes costs little
PIECES = re.compile(r"\w+|[^\w\s]")  # words, and each sign by itself
CHARACTERS = (3, 4, 5)  # n-grams of characters within a word, with the spaces around it
WORDS = (1, 2)  # n-grams of words
BASE = 0x9E3779B97F4A7C15  # odd, so that powers of it have inverses modulo 2^64
INVERSE = pow(BASE, -1, 1 << 64)
SALT = 0xD1B54A32D192ED03  # of characters, so that a word and the same characters are two things

Facts = Mapping[str, Any]
# Tokens (T,) int32 of n texts one after another, and where each begins: (n + 1,) int64.
Ragged = tuple[np.ndarray, np.ndarray]


def stored(given: Any, shape: Sequence[int] = ()) -> np.ndarray:
    """What a client sends, a text or a sequence of texts -> (n,) objects. Raises ValueError for what is none, and for empty texts."""
    texts = [given] if isinstance(given, str) else np.asarray(given, dtype=object).ravel().tolist()
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"text {place}: found {type(text).__name__}, expected text")
        if not text.strip():
            raise ValueError(f"text {place}: holds nothing but white space" if text else f"text {place}: empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"text {place}: holds half a character, which UTF-8 does not have") from None
    return np.array([*texts, None], dtype=object)[:-1]


def numbers(samples: np.ndarray, facts: Facts) -> np.ndarray:
    """Texts (n,) -> tokens (n, longest) int32, shorter texts filled up with 0; at least one column."""
    found, starts = tokens(samples, facts)
    lengths = np.diff(starts)
    out = np.zeros((len(lengths), max(1, int(lengths.max(initial=1)))), np.int32)
    out[np.arange(out.shape[1]) < lengths[:, None]] = found
    return out


def tokens(samples: np.ndarray, facts: Facts) -> Ragged:
    """The tokens of texts (n,): the first `max_tokens` of each."""
    read, longest = READERS[facts["tokens"]], PER_TOKEN * facts["max_tokens"]
    parts = [
        read([text[:longest] for text in samples[start : start + BATCH].tolist()], facts)
        for start in range(0, max(1, len(samples)), BATCH)
    ]
    lengths = np.concatenate([np.diff(starts) for _, starts in parts])
    return np.concatenate([found for found, _ in parts]), np.concatenate([[0], np.cumsum(lengths)])


def _bpe(texts: list[str], facts: Facts) -> Ragged:
    encoded = _tokenizer(facts["tokenizer"]).encode_batch_fast(texts, add_special_tokens=False)
    most = facts["max_tokens"]
    found = [one.ids[:most] for one in encoded]
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(ids) for ids in found], out=starts[1:])
    return np.fromiter((id for ids in found for id in ids), np.int32, int(starts[-1])), starts


@lru_cache(maxsize=4)
def _tokenizer(text: str) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_str(text)


def _encoders(texts: list[str], facts: Facts) -> Ragged:
    """An encoder's numbers, which begin with 0, plus one. Its tokenizer cuts a text by itself, before what it puts behind it."""
    encoded = _tokenizer(facts["tokenizer"]).encode_batch_fast(texts)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(one.ids) for one in encoded], out=starts[1:])
    return 1 + np.fromiter((id for one in encoded for id in one.ids), np.int32, int(starts[-1])), starts


def _hashed(texts: list[str], facts: Facts) -> Ragged:
    """Numbers from 1 to `vocabulary` − 1 for n-grams of words, and of characters within words, in lower case and in their order."""
    lines = [f" {' '.join(PIECES.findall(text.lower()))} " for text in texts]
    codes = np.frombuffer("".join(lines).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    owner = np.repeat(np.arange(len(texts)), [len(line) for line in lines])
    firsts, ends, salts = _grams(codes == ord(" "), owner)
    order = np.argsort(firsts, kind="stable")
    firsts, ends, salts = firsts[order], ends[order], salts[order]
    found = 1 + (_hash(codes, firsts, ends, salts) % np.uint64(facts["vocabulary"] - 1)).astype(np.int32)
    counts = np.bincount(owner[firsts], minlength=len(texts))
    rank = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.minimum(counts, facts["max_tokens"]), out=starts[1:])
    return found[rank < facts["max_tokens"]], starts


def _grams(blank: np.ndarray, owner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The stretches of all lines that are n-grams: where each begins and ends, and what tells words and characters apart.

    `blank` (N,): which characters are spaces, `owner` (N,): of which text each is. A line has a space before and behind every word.
    """
    first = np.flatnonzero(~blank[1:] & blank[:-1]) + 1  # of each word, and where it ends
    end = np.flatnonzero(blank[1:] & ~blank[:-1]) + 1
    firsts, ends, salts = [], [], []
    for n in WORDS:
        count = max(0, len(first) - n + 1)
        one, other = first[:count], end[n - 1 :]
        together = owner[one] == owner[other]
        firsts.append(one[together])
        ends.append(other[together])
    salts.append(np.zeros(sum(map(len, firsts)), np.uint64))
    for n in CHARACTERS:
        counts = np.maximum(0, end - first + 3 - n)
        begin = np.repeat(first - 1 - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        firsts.append(begin)
        ends.append(begin + n)
        salts.append(np.full(len(begin), SALT, np.uint64))
    return np.concatenate(firsts), np.concatenate(ends), np.concatenate(salts)


def _hash(codes: np.ndarray, firsts: np.ndarray, ends: np.ndarray, salts: np.ndarray) -> np.ndarray:
    """(m,) uint64 of the stretches of codes (N,) uint64: a polynomial of each, taken from sums of them all, with its bits mixed."""
    powers = np.full(len(codes) + 1, BASE, np.uint64)
    inverses = np.full(len(codes) + 1, INVERSE, np.uint64)
    powers[:1] = inverses[:1] = 1
    powers, inverses = np.cumprod(powers, dtype=np.uint64), np.cumprod(inverses, dtype=np.uint64)
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[:-1], out=sums[1:])
    found = (sums[ends] - sums[firsts]) * inverses[firsts] ^ salts
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
    return found ^ (found >> np.uint64(31))


READERS: dict[str, Callable[[list[str], Facts], Ragged]] = {
    "bpe": _bpe,
    "hashed": _hashed,
    "encoder": _encoders,
    "pieces": _encoders,
}
