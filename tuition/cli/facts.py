"""What the data of a params.yaml is, for who looks before a run: as `prepare` left it, or read from its source now."""

from typing import Any

from tuition.files import read_json
from tuition.params import Data, Params
from tuition.workspace import Workspace

Facts = dict[str, Any]


def read_facts(params: Params, notes: list[str]) -> Facts:
    """What is known of the data, as `teach` looks at it; `notes` take what it is and what is odd about it."""
    from tuition.teachers.shown import of_stored

    return of_stored(params.teach, _facts(params.data, notes))


def _facts(data: Data, notes: list[str]) -> Facts:
    """As `prepare` wrote it, or else read from its source now."""
    from tuition.sources.splits import changed

    here, split = Workspace().data, Workspace().split("train")
    written: Facts = read_json(here.meta) if here.meta.is_file() and split.meta.is_file() else {}
    if written.get("data") and not changed(data, written):
        notes.append(f"data: {written['source']}, as `prepare` left it")
        notes += [f"warning: {one}" for one in written.get("warnings", [])]
        return written | read_json(split.meta)
    if data.task == "retrieval":
        return _of_collection(data, notes)
    from tuition.inputs.kinds import INPUTS, named
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
    return (
        {"classes": raw.classes, "splits": sizes}
        | named(inputs)
        | without
        | inputs.facts(samples)
        | inputs.statistics(samples)
    )


def _of_collection(data: Data, notes: list[str]) -> Facts:
    """Of documents and queries, read from their source now."""
    from tuition.sources.collection import arrange, load_collection

    collection = load_collection(data)
    found = arrange(collection, data).facts()
    notes.append(
        f"data: {data.source}, {found['documents']} documents, queries: "
        + ", ".join(f"{count} {name}" for name, count in found["queries"].items())
    )
    if collection.rejected:
        row, why = collection.rejected[0]
        notes.append(f"warning: {len(collection.rejected)} rows hold no text and are left out, such as {row}: {why}")
    return found
