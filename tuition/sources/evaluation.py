"""`data.evaluation` and `data.classes`: a labelled set for validation and test beside the pool, and classes that go by one list.

What the set has as val and test stays so. Where it has one of the two, the rest of it is the other; where it has neither, its
samples are drawn into two halves, the same share of each class. The pool is then train alone.
"""

from dataclasses import replace

import numpy as np

from tuition.errors import UserError
from tuition.origins import words
from tuition.params import Data
from tuition.sources.raw import UNKNOWN, Part, Raw
from tuition.sources.split import Rows, draw


def named(raw: Raw, data: Data) -> Raw:
    """The samples with the classes of `data.classes`, or else their own.

    Raises UserError where the two are not the same set, and where there are neither.
    """
    if data.classes is not None:
        _check_subset("data.source", raw, data.classes, whole=not raw.unlabelled())
        return raw.relabelled(data.classes)
    if not raw.classes:
        raise UserError(
            f"data.source: {data.source}: no sample has a label, so that nothing names the classes; set data.classes to their names, in "
            "order, or data.evaluation to a small labelled set"
        )
    return raw


def joined(pool: Raw, labelled: Raw, data: Data) -> Raw:
    """The pool as train, and val and test from `labelled`, which was read from `data.evaluation`.

    Raises UserError for a sample of `labelled` without a label, and for classes, kinds and shapes of samples that differ.
    """
    where = f"data.evaluation: {data.evaluation}"
    _check_labels(labelled, where)
    if pool.inputs != labelled.inputs:
        raise UserError(f"{where}: {labelled.inputs}, but data.source has {pool.inputs}; both must be of one kind")
    classes, warnings = _agree(pool, labelled, data)
    left = {name: len(part.labels) for name, part in pool.parts.items() if name != "train"}
    if left:
        warnings.append(f"{_counts(left)} of data.source are left out: data.evaluation gives both")
    pool, labelled = pool.relabelled(classes), labelled.relabelled(classes)
    val, test, unused = _parts(labelled, data)
    if unused:
        warnings.append(f"{unused} training samples of data.evaluation are left out: it has val and test of its own")
    parts = _alike({"train": pool.parts["train"], "val": val, "test": test}, where)
    return Raw(
        parts,
        classes,
        [*pool.rejected, *labelled.rejected],
        [*pool.warnings, *labelled.warnings, *warnings],
        pool.inputs,
    )


def _check_labels(labelled: Raw, where: str) -> None:
    if not (bare := labelled.unlabelled()):
        return
    total = sum(len(part.labels) for part in labelled.parts.values())
    part = next(part for part in labelled.parts.values() if (part.labels == UNKNOWN).any())
    first = f" (the first: {words(part.origins.place(int((part.labels == UNKNOWN).argmax())))})" if part.origins else ""
    raise UserError(f"{where}: {bare} of {total} samples have no label{first}; label them all, or leave those out")


def _agree(pool: Raw, labelled: Raw, data: Data) -> tuple[list[str], list[str]]:
    """The classes of both, and warnings."""
    if data.classes is not None:
        _check_subset("data.source", pool, data.classes, whole=not pool.unlabelled())
        _check_subset("data.evaluation", labelled, data.classes, whole=False)
        absent = [name for name in data.classes if name not in labelled.classes]
        said = f"data.evaluation has no sample of {_listed(absent)}: nothing tells how well these classes are learnt"
        return data.classes, [said] if absent else []
    strange = set(pool.classes) - set(labelled.classes)
    lacking = set(labelled.classes) - set(pool.classes) if not pool.unlabelled() else set()
    if strange or lacking:
        only = (
            f"{_listed(sorted(strange))} in data.source alone"
            if strange
            else f"{_listed(sorted(lacking))} in data.evaluation alone"
        )
        raise UserError(
            f"data.evaluation: {data.evaluation}: its classes are not those of data.source: {only}. data.source: "
            f"{', '.join(pool.classes)}; data.evaluation: {', '.join(labelled.classes)}. Rename them, or list all of them in data.classes"
        )
    return (labelled if pool.unlabelled() else pool).classes, []


def _check_subset(key: str, raw: Raw, classes: list[str], whole: bool) -> None:
    """Raises UserError where `raw` has a class that `classes` lacks, or, with `whole`, lacks one."""
    strange = [name for name in raw.classes if name not in classes]
    lacking = [name for name in classes if name not in raw.classes] if whole else []
    if strange or lacking:
        only = f"{_listed(strange)} in {key} alone" if strange else f"{_listed(lacking)} in data.classes alone"
        raise UserError(
            f"data.classes: not the classes of {key}: {only}. data.classes: {', '.join(classes)}; {key}: {', '.join(raw.classes)}"
        )


def _parts(labelled: Raw, data: Data) -> tuple[Part, Part, int]:
    """val and test, and how many samples are neither."""
    rest, val, test = (labelled.parts.get(name) for name in ("train", "val", "test"))
    if val is not None and test is not None:
        return val, test, 0 if rest is None else len(rest.labels)
    if rest is None or not len(rest.labels):
        raise UserError(f"data.evaluation: {data.evaluation}: holds no sample for {'val' if test else 'test'}")
    if val is not None:
        return val, rest, 0
    if test is not None:
        return rest, test, 0
    rows = Rows("train", np.arange(len(rest.labels)), np.zeros(len(rest.labels), "S64"), rest.labels)
    first, second = draw(rows, len(rest.labels) // 2, np.random.default_rng([data.seed, 4]))
    return rest.take(first.rows), rest.take(second.rows), 0


def _alike(parts: dict[str, Part], where: str) -> dict[str, Part]:
    """Images of one number of channels: grey ones become colour where others are, as within a source. Texts are alike."""
    if all(part.images.ndim == 1 for part in parts.values()):
        return parts
    shapes = {name: part.images.shape[1:] for name, part in parts.items()}
    sizes = {shape[1:] for shape in shapes.values()}
    if len(sizes) > 1:
        pool, other = ("x".join(map(str, shapes[name][:0:-1])) for name in ("train", "val"))
        raise UserError(
            f"{where}: images of {other} pixels, those of data.source have {pool}; set data.resize to the pixels a side "
            "that all should have"
        )
    channels = {shape[0] for shape in shapes.values()}
    if len(channels) == 1:
        return parts
    if channels != {1, 3}:
        raise UserError(f"{where}: images of {sorted(channels)} channels; set data.channels to 1 or 3")
    grey = {name for name, shape in shapes.items() if shape[0] == 1}
    return {
        name: replace(part, images=np.repeat(part.images, 3, axis=1)) if name in grey else part
        for name, part in parts.items()
    }


def _counts(sizes: dict[str, int]) -> str:
    return " and ".join(f"{count} {name} samples" for name, count in sizes.items())


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
