"""The texts that ship with this package, made anew: definitions of nouns in WordNet 3.0, each with the class of its noun.

    apt-get download wordnet-base && dpkg-deb -x wordnet-base_*.deb wordnet
    python -m benchmarks.wordnet wordnet/usr/share/wordnet/data.noun

writes tuition/sources/wordnet/glosses.parquet: 12,000 definitions to train and 3,000 to test, seeded, the same share of each class. The
examples behind a definition are left out, and so is a definition that several nouns of different classes share. Beside it words.parquet
has, row for row, the nouns that each definition is of: those of one meaning, joined by commas, for each meaning that is defined so.
"""

import re
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tuition.sources.wordnet import CLASSES, FILE, WORDS

FIRST = 3  # the number of the first class of nouns in WordNet's lexnames
TRAIN, TEST = 12_000, 3_000


def definitions(path: Path) -> dict[str, tuple[int, list[str]]]:
    """Each definition in a file `data.noun`, its class, and the nouns of each meaning that it defines."""
    found: dict[str, set[int]] = {}
    nouns: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):  # the licence
            continue
        fields, _, gloss = line.partition(" | ")
        text = re.split(r';\s*"', gloss)[0].strip()
        if text and '"' not in text:
            parts = fields.split(" ")
            found.setdefault(text, set()).add(int(parts[1]) - FIRST)
            words = [parts[4 + 2 * place].replace("_", " ") for place in range(int(parts[3], 16))]
            nouns.setdefault(text, []).append(", ".join(words))
    return {text: (labels.pop(), nouns[text]) for text, labels in found.items() if len(labels) == 1}


def drawn(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` places, the same share of each class."""
    sizes = np.bincount(labels, minlength=len(CLASSES))
    exact = sizes * (count / len(labels))
    quota = np.floor(exact).astype(int)
    quota[np.argsort(quota - exact, kind="stable")[: count - quota.sum()]] += 1
    parts = [rng.permutation(np.flatnonzero(labels == label))[:number] for label, number in enumerate(quota)]
    return rng.permutation(np.concatenate(parts))


def main(path: Path) -> None:
    found = definitions(path)
    texts, labels = sorted(found), np.array([found[text][0] for text in sorted(found)])
    rows = drawn(labels, TRAIN + TEST, np.random.default_rng(0))
    test = drawn(labels[rows], TEST, np.random.default_rng(1))
    split = np.full(len(rows), "train", dtype=object)
    split[test] = "test"
    table = pa.table(
        {
            "text": [texts[row] for row in rows],
            "label": pa.array([CLASSES[label] for label in labels[rows]]).dictionary_encode(),
            "split": pa.array(split.tolist()).dictionary_encode(),
        }
    )
    FILE.parent.mkdir(exist_ok=True)
    parquet.write_table(table, FILE, compression="zstd", compression_level=19, use_dictionary=["label", "split"])
    words = pa.table({"words": [found[texts[row]][1] for row in rows]})
    parquet.write_table(words, WORDS, compression="zstd", compression_level=19, use_dictionary=False)
    print(f"{WORDS}: {WORDS.stat().st_size:,} bytes")
    print(f"{FILE}: {len(rows):,} of {len(texts):,} definitions, {FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
