"""`wordnet`: 15,000 real texts that ship with this package: definitions of nouns, each with one of 26 classes of things.

`wordnet-words` is a dictionary the other way round, a task of retrieval: the documents are the nouns of a meaning ("car, auto"), the
queries are the definitions, and relevant are the nouns that are defined so.

`wordnet-definitions` is a task of language models: the prompts are nouns and the class of the thing, "gift wrap (substance)", the
references their definitions.

From WordNet 3.0, © Princeton University, whose licence lies beside them; benchmarks/wordnet.py made the file.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tuition.params import Data
from tuition.sources.columns import Chosen
from tuition.sources.parts import Source
from tuition.sources.raw import Raw
from tuition.sources.readers import open_table
from tuition.sources.records import Collection, Records
from tuition.sources.texts import load_texts

FILE = Path(__file__).with_name("glosses.parquet")
WORDS = Path(__file__).with_name("words.parquet")  # row for row the nouns of each definition
CLASSES = (  # WordNet's own names, in its order
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"),
    *("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"),
    *("quantity", "relation", "shape", "state", "substance", "time"),
)


def load_wordnet(place: str, data: Data) -> Raw:
    """12,000 texts to train and 3,000 to test."""
    chosen = Chosen("text", "label", "split", ("text",))
    return load_texts([Source(open_table(FILE, "wordnet"))], chosen, FILE.parent, data, "wordnet")


def load_words(place: str, data: Data) -> Collection:
    """14,799 documents; 12,000 queries to train and 3,000 to test, each with the document of its nouns, a few with several."""
    glosses, words = (open_table(file, "wordnet-words") for file in (FILE, WORDS))
    batches = zip(glosses.batches(["text", "split"]), words.batches(["words"]), strict=True)
    rows = [row for (texts, splits), (meanings,) in batches for row in zip(texts, splits, meanings, strict=True)]
    numbers: dict[str, int] = {}
    relevance: dict[str, list[tuple[int, int, int]]] = {}
    for query, (_, split, meanings) in enumerate(rows):
        found = {numbers.setdefault(nouns, len(numbers)) for nouns in meanings}
        relevance.setdefault(split, []).extend((query, document, 1) for document in sorted(found))
    names = list(numbers)
    first: dict[str, int] = {}
    for query, (_, _, meanings) in enumerate(rows):
        for nouns in meanings:
            first.setdefault(nouns, query)
    documents = Records.of(WORDS.name, names, names, [first[name] for name in names])
    queries = Records.of(
        FILE.name, [str(row) for row in range(len(rows))], [text for text, _, _ in rows], list(range(len(rows)))
    )
    return Collection(
        documents, queries, {split: np.array(pairs, dtype=np.int64) for split, pairs in relevance.items()}
    )


def load_definitions() -> Iterator[tuple[str, str, str]]:
    """The rows of `wordnet-definitions`: prompt, reference, and split."""
    glosses, words = (open_table(file, "wordnet-definitions") for file in (FILE, WORDS))
    both = zip(glosses.batches(["text", "label", "split"]), words.batches(["words"]), strict=True)
    for (texts, labels, splits), (meanings,) in both:
        for text, label, split, nouns in zip(texts, labels, splits, meanings, strict=True):
            yield f"{nouns[0]} ({label})", text, split
