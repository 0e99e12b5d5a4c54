"""From a source to a folder of arrays: the splits of `data/`, and of `transfer/`."""

from pathlib import Path

import numpy as np

from tuition.errors import UserError
from tuition.files import digest, write_array, write_json
from tuition.inputs.kinds import INPUTS, inputs_of, named
from tuition.inputs.protocol import Inputs
from tuition.origins import write_origins
from tuition.params import Columns, Data
from tuition.sources import additions, alter, collection, load_source, prompts, split
from tuition.sources.raw import UNKNOWN, Part, Raw
from tuition.tables import write_rejected
from tuition.workspace import Split, Splits

LATER = (
    "noise",
    "imbalance",
    "additions",
    "evaluation",
    "classes",
    "columns",
)  # not told where they are off: see `_settings`


def write_splits(data: Data, out: Path, expected: tuple[int, ...] | None = None) -> dict:
    """Write the splits of `data.source` below `out` and return what `meta.json` says.

    With `expected` it is other data, for the linear probe. Raises UserError for data that cannot be read or split as asked, and, with
    `expected`, for samples that have another shape or no label.
    """
    if data.task == "retrieval":
        return collection.write_collection(data, Splits(out), _settings(data))
    if data.task == "generate":
        return prompts.write_prompts(data, Splits(out), _settings(data))
    raw = load_source(data, labels=expected is not None)
    inputs = INPUTS[raw.inputs]
    if expected and (found_shape := raw.parts["train"].images.shape[1:]) != expected:
        raise UserError(f"{data.source}: {inputs.NAME} are {found_shape}, those of `data` {expected} ({inputs.AXES})")
    found, duplicates = split.assign(raw, data)
    found["train"], altered = alter.alter(found["train"], raw.classes, data)
    shape = raw.parts["train"].images.shape[1:]
    sizes: dict[str, int] = {}
    labelled: dict[str, int] = {}
    for name, rows in found.items():
        part = raw.parts[rows.part]
        arrays: tuple[np.ndarray, ...] = part.images[rows.rows], rows.labels, rows.ids
        origins = None if part.origins is None else part.origins[rows.rows]
        stored = _stored_ids(inputs, arrays[0], part, rows)
        if name == "train":
            normal = inputs.statistics(arrays[0])  # the source's: a teacher that takes them stays the same teacher
            facts = {"classes": raw.classes, **normal} | ({"altered": altered} if altered else {})
            if data.additions:
                more = additions.read_additions(data, inputs, raw.classes, shape, found, bool(sizes_of_originals(raw)))
                both = zip(arrays, (more.images, more.labels, more.ids), strict=True)
                arrays = tuple(np.concatenate(two) for two in both)
                origins = None if origins is None else origins + more.origins
                stored = None if stored is None else np.concatenate([stored, more.stored_ids])
                duplicates |= more.held
                facts["additions"] = len(more.ids)
        else:
            facts = {"n": len(arrays[0]), "digest": digest(*arrays)}
        _write_split(inputs, Splits(out).split(name), facts, *arrays)
        if stored is not None:
            write_array(Splits(out).split(name).stored_ids, stored)
        if origins is not None:
            write_origins(Splits(out).split(name).files, arrays[2], origins)
        sizes[name], labelled[name] = len(arrays[2]), int((arrays[1] != UNKNOWN).sum())
    write_rejected(Splits(out).rejected, raw.rejected)
    meta = _meta(data, raw, sizes, labelled, duplicates, altered)
    write_json(Splits(out).meta, meta)
    return meta


def _stored_ids(inputs: Inputs, samples: np.ndarray, part: Part, rows: split.Rows) -> np.ndarray | None:
    """Content ids of the samples as they are stored (n,) S64, where they are not the originals."""
    if part.originals is None:
        return None
    stored = np.array([inputs.content_id(one) for one in samples], dtype="S64")
    return None if (stored == rows.ids).all() else stored


def sizes_of_originals(raw: Raw) -> dict[str, list[int]]:
    """The least and the largest height and width of the originals in pixels, where samples were made smaller."""
    sizes = [part.originals.sizes for part in raw.parts.values() if part.originals is not None and len(part.labels)]
    if not sizes:
        return {}
    (low_height, low_width), (height, width) = (
        getattr(np.concatenate(sizes), end)(axis=0).tolist() for end in ("min", "max")
    )
    same = (low_height, low_width) == (height, width) == raw.parts["train"].images.shape[-2:]
    return {} if same else {"height": [low_height, height], "width": [low_width, width]}


def warnings_of(raw: Raw) -> list[str]:
    """What was perhaps not meant, of how samples were read and of what they look like, each once."""
    looks = INPUTS[raw.inputs].warnings([part.images for part in raw.parts.values()])
    return list(dict.fromkeys([*raw.warnings, *looks]))


def _meta(
    data: Data, raw: Raw, sizes: dict[str, int], labelled: dict[str, int], duplicates: dict[str, int], altered: dict
) -> dict:
    inputs = INPUTS[raw.inputs]
    warnings = warnings_of(raw)
    return {
        "source": data.source,
        "classes": raw.classes,
        **named(inputs),
        **inputs.facts(raw.parts["train"].images),
        **({"originals": sizes_of} if (sizes_of := sizes_of_originals(raw)) else {}),
        "splits": sizes,
        **({"labelled": labelled} if labelled != sizes else {}),
        **({} if labelled["val"] or labelled["test"] else {"evaluated_by": "teacher"}),
        "rejected": len(raw.rejected),
        "duplicates": duplicates,
        "data": _settings(data),
        **({"altered": altered} if altered else {}),
        **({"warnings": warnings} if warnings else {}),
    }


WATCHED = {"watch", "watch_evaluation"}  # where DVC looks for changes, which changes nothing of what is made


def _settings(data: Data) -> dict:
    """The section, but for later keys that are off: what was made before there were such keys stays as it is."""
    altering = data.noise > 0 or data.imbalance > 1
    off = [key for key in LATER if getattr(data, key) == type(data).model_fields[key].default]
    found = data.model_dump(
        exclude={*WATCHED, *(key for key in off if not (altering and key in ("noise", "imbalance")))}
    )
    if "columns" in found and not data.columns.texts:
        del found["columns"]["text"], found["columns"]["template"]
    return found


def changed(data: Data, meta: dict) -> list[str]:
    """The keys of `data` that are not what `data/` (whose meta.json is `meta`) was made with; a key that it lacks was off then."""
    now, then = data.model_dump(exclude=WATCHED), Data().model_dump() | meta.get("data", {})
    then["columns"] = Columns().model_dump() | then["columns"]
    return [key for key in now if now[key] != then[key]]


def _write_split(
    inputs: Inputs, files: Split, facts: dict, samples: np.ndarray, labels: np.ndarray, ids: np.ndarray
) -> None:
    write_json(files.meta, facts)
    inputs.write(files.path, samples)
    write_array(files.labels, labels)
    write_array(files.ids, ids)


def summary(meta: dict) -> str:
    """What was written, in one line, from its `meta.json`; and a line for each warning."""
    if meta.get("task") == "retrieval":
        return collection.summary(meta)
    if meta.get("task") == "generate":
        return prompts.summary(meta)
    sizes = ", ".join(f"{count} {name}" for name, count in meta["splits"].items())
    dropped = sum(count for key, count in meta["duplicates"].items() if "_in_" in key)
    inputs = inputs_of(meta)
    said = (
        f"{meta['source']}: {sizes}; {len(meta['classes'])} classes, {inputs.size(meta)}; {meta['rejected']} unreadable "
        f"{'rows' if inputs.NAME == 'texts' else 'files'} and "
        f"{dropped} duplicates across splits left out"
    )
    if "labelled" in meta:
        said += "; with a label: " + ", ".join(f"{count} of {name}" for name, count in meta["labelled"].items())
    return "\n".join([said, *(f"warning: {meta['source']}: {one}" for one in meta.get("warnings", []))])
