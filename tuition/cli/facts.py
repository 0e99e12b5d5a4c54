"""What the data of a params.yaml is, for who looks before a run: as `prepare` left it, or read from its source now."""

from collections.abc import Callable
from typing import Any, NamedTuple

from tuition.files import read_json
from tuition.inputs.protocol import Samples
from tuition.params import Data, Params
from tuition.workspace import Workspace

Facts = dict[str, Any]


class Known(NamedTuple):
    """What is known of the data, as `teach` looks at it; `pool()` gives the samples (N, …) of its pool as they are stored."""

    facts: Facts
    pool: Callable[[], Samples]


def read_facts(params: Params, notes: list[str]) -> Known:
    """What the data is; `notes` take that in words, and what is odd about it."""
    from tuition.teachers.shown import of_stored

    facts, pool = _read(params.data, notes)
    return Known(of_stored(params.teach, facts), pool)


def _read(data: Data, notes: list[str]) -> Known:
    """As `prepare` wrote it, or else read from its source now."""
    from tuition.inputs.kinds import INPUTS, inputs_of, named
    from tuition.sources.splits import changed

    here, split = Workspace().data, Workspace().split("train")
    written: Facts = read_json(here.meta) if here.meta.is_file() and split.meta.is_file() else {}
    if written.get("data") and not changed(data, written):
        notes.append(f"data: {written['source']}, as `prepare` left it")
        notes += [f"warning: {one}" for one in written.get("warnings", [])]
        facts = written | read_json(split.meta)
        return Known(facts, lambda: inputs_of(facts).read(split.path))
    if data.task == "retrieval":
        return _of_collection(data, notes)
    if data.task == "generate":
        return _of_prompts(data, notes)
    from tuition.sources import load_source
    from tuition.sources import split as splits
    from tuition.sources.splits import sizes_of_originals, warnings_of

    raw = load_source(data)
    rows, _ = splits.assign(raw, data)
    pool = rows["train"]
    samples = raw.parts[pool.part].images[pool.rows]
    inputs = INPUTS[raw.inputs]
    sizes = {name: len(one.ids) for name, one in rows.items()}
    known = {name: int((one.labels >= 0).sum()) for name, one in rows.items()}
    notes.append(f"data: {data.source}, {', '.join(f'{count} {name}' for name, count in sizes.items())}")
    notes += [f"warning: {one}" for one in warnings_of(raw)]
    if raw.rejected:
        (first, why), more = raw.rejected[0], len(raw.rejected) - 1
        notes.append(f"warning: cannot be read, and is left out: {first}: {why}{f'; and {more} more' if more else ''}")
    without: Facts = {} if known == sizes else {"labelled": known}
    without |= {"originals": originals} if (originals := sizes_of_originals(raw)) else {}
    without |= {} if known["val"] or known["test"] else {"evaluated_by": "teacher"}
    facts = (
        {"classes": raw.classes, "splits": sizes}
        | named(inputs)
        | without
        | inputs.facts(samples)
        | inputs.statistics(samples)
    )
    return Known(facts, lambda: samples)


def _of_collection(data: Data, notes: list[str]) -> Known:
    """Of documents and queries, read from their source now."""
    from tuition.sources.collection import arrange, load_collection

    collection = load_collection(data)
    arranged = arrange(collection, data)
    found = arranged.facts()
    notes.append(
        f"data: {data.source}, {found['documents']} documents, queries: "
        + ", ".join(f"{count} {name}" for name, count in found["queries"].items())
    )
    if collection.rejected:
        row, why = collection.rejected[0]
        notes.append(f"warning: {len(collection.rejected)} rows hold no text and are left out, such as {row}: {why}")
    return Known(found, lambda: arranged.pool.texts)


def _of_prompts(data: Data, notes: list[str]) -> Known:
    """Of prompts and references, read from their source now."""
    from tuition.sources import prompts

    found = prompts.load_prompts(data)
    arranged, _ = prompts.arrange(found, data)
    notes.append(f"data: {data.source}, " + ", ".join(f"{len(one.records)} {name}" for name, one in arranged.items()))
    if found.rejected:
        row, why = found.rejected[0]
        notes.append(f"warning: {len(found.rejected)} rows hold no prompt and are left out, such as {row}: {why}")
    return Known(prompts.facts_of(arranged), lambda: arranged["train"].records.texts)
