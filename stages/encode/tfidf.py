"""`tfidf`: n-grams of words (1 and 2) and of characters within words (2 to 5), as their axes of largest variance.

What is rare and where the axes lie is learnt from the pool alone. Counts are damped by a logarithm; a vector has the length 1.
"""

from typing import Any

import numpy as np

from stages.encode.encoding import Encoder, Pools
from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of

LEARNT = 100_000  # texts that it learns from, at most: taken at even distances
CHARACTERS = 20_000  # of a text, from its beginning; a longer one would be most of the vocabulary
FEWEST = 2  # texts that have an n-gram, for it to count


def open_tfidf(dimensions: int, facts: dict[str, Any], pools: Pools) -> Encoder:
    """The encoder, learnt from the pool; `dimensions` of it at most. Raises UserError for samples that are no texts."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import Normalizer

    inputs = inputs_of(facts)
    if inputs.NAME != "texts":
        raise UserError(f"encode.source: 'tfidf' reads texts, but the samples of this study are {inputs.NAME}")
    train = pools["train"]
    learnt = _cut(train[:: -(-len(train) // LEARNT)])
    fewest = min(FEWEST, len(learnt))
    counts = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=fewest, dtype=np.float32),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=fewest, dtype=np.float32),
    )
    try:
        found = counts.fit_transform(learnt)
    except ValueError as error:
        raise UserError(
            f"encode.source: tfidf: {error}; the pool's {len(train)} texts have no n-gram in common"
        ) from None
    width = min(dimensions, found.shape[1] - 1, len(learnt) - 1)
    axes = make_pipeline(TruncatedSVD(width, random_state=0), Normalizer())
    axes.fit(found)

    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        return axes.transform(counts.transform(_cut(pools[split][rows])))

    return Encoder("tfidf", width, encode)


def _cut(texts: np.ndarray) -> list[str]:
    return [text[:CHARACTERS] for text in texts]
