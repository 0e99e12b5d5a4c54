"""`wordnet`: 15,000 real texts that ship with this package: definitions of nouns, each with one of 26 classes of things.

From WordNet 3.0, © Princeton University, whose licence lies beside them; benchmarks/wordnet.py made the file.
"""

from pathlib import Path

from tuition.params import Data
from tuition.sources.columns import Chosen
from tuition.sources.parts import Source
from tuition.sources.raw import Raw
from tuition.sources.readers import open_table
from tuition.sources.texts import load_texts

FILE = Path(__file__).with_name("glosses.parquet")
CLASSES = (  # WordNet's own names, in its order
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication", "event", "feeling"),
    *("food", "group", "location", "motive", "object", "person", "phenomenon", "plant", "possession", "process"),
    *("quantity", "relation", "shape", "state", "substance", "time"),
)


def load_wordnet(place: str, data: Data) -> Raw:
    """12,000 texts to train and 3,000 to test."""
    chosen = Chosen("text", "label", "split", ("text",))
    return load_texts([Source(open_table(FILE, "wordnet"))], chosen, FILE.parent, data, "wordnet")
