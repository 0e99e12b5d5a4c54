"""`take`: what is new in the inbox becomes samples of `additions/`, each by its content.

New samples are written aside as they are read, and moved into `additions/` when all have been; then their digest goes into
params.yaml. Before the first is moved `refresh/taking.json` says which they are, so that a take that was killed in between is told
from a folder that someone changed, and the next one goes on.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuition.errors import UserError
from tuition.files import atomic, read_array, read_json, write_json
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs
from tuition.intake import fits
from tuition.intake.inbox import Inbox
from tuition.intake.item import Item
from tuition.intake.rows import Tables
from tuition.origins import name as name_of
from tuition.params import Params, edits
from tuition.sources import additions
from tuition.tables import write_rejected
from tuition.workspace import Workspace

Opened = tuple[Iterator[Item], Callable[[], list[str]]]  # what an inbox holds, and what is to be told once it is read
Held = dict[str, tuple[str, str]]  # content id -> where it is held already (train, val, test, additions), its class


@dataclass
class Sorted:
    """What became of an inbox's files or rows."""

    seen: int = 0
    new: dict[str, str] = field(default_factory=dict)  # content id -> class
    duplicates: Counter[str] = field(default_factory=Counter)  # by where the same content is held
    rejected: list[tuple[str, str]] = field(default_factory=list)  # file, reason


def sort(
    found: Iterable[Item],
    held: Held,
    inputs: Inputs,
    keep: Callable[[str, str, Any], object],
    loose: bool = False,
) -> Sorted:
    """Tell new samples from duplicates and from what is none.

    Each new one is given to `keep(content id, class, sample)`, so that they need not fit in memory together. `loose`: one without a label
    is taken, too; its class is "".
    """
    done, where = Sorted(), dict(held)
    for one in found:
        done.seen += 1
        name = "" if one.of is None and loose else one.of
        if one.why:
            done.rejected.append((one.place, one.why))
        elif name is None:
            done.rejected.append((one.place, "without a label" if inputs.NAME == "texts" else "not in a class folder"))
        elif (id := inputs.content_id(one.sample)) not in where:
            keep(id, name, one.sample)
            done.new[id], where[id] = name, ("inbox", name)
        else:
            place, other = where[id]
            if (
                other == name or "" in (other, name) or place in ("val", "test")
            ):  # one without a label is in no other class
                done.duplicates[place] += 1
            else:
                done.rejected.append(
                    (one.place, f"the same content is in class {other!r} ({place}, {name_of(id)}): which one is it?")
                )
    return done


def take(params: Params, place: str | None) -> dict[str, Any]:
    """Take what is new in the inbox `place`; returns what `refresh/taken.json` holds.

    Raises UserError, with nothing taken, where there is no inbox, a class folder is of no class of the data, the folder of additions was
    changed by hand, or a refresh cannot be had (`fits`).
    """
    fits.check(params)
    if place is None:
        raise UserError(
            "refresh.inbox: null; name a folder or s3://bucket/prefix with new images, in class folders or without labels; of texts "
            "a table or a folder of tables"
        )
    meta = _read_meta(params)
    folder = Path(params.data.additions.folder) if params.data.additions else Workspace().additions
    recorded = params.data.additions.digest if params.data.additions else additions.digest([])
    before = _settled(folder, recorded)
    done, warnings = _sort_inbox(params, place, meta, before)
    after = [*before, *done.new.items()]
    _move(done.new, folder, inputs_of(meta).SUFFIX)
    digest = additions.digest(after)
    if digest != recorded:  # also where a take that was killed had written all of them
        value = edits.parser().load(f"{{folder: {folder}, digest: {digest}}}")
        edits.apply([edits.Edit("refresh", ["data", "additions"], value)])
    Workspace().refresh.taking.unlink(missing_ok=True)
    write_rejected(Workspace().refresh.rejected, done.rejected)
    taken = {
        "inbox": place,
        "files": done.seen,
        "of": "rows" if inputs_of(meta).NAME == "texts" else "files",
        "new": len(done.new),
        "folder": str(folder),
        "additions": len(after),
        "digest": digest if after else None,
        "duplicates": dict(sorted(done.duplicates.items())),
        "rejected": len(done.rejected),
        "classes": dict(sorted(Counter(name for name in done.new.values() if name).items())),
        "warnings": warnings,
    }
    write_json(Workspace().refresh.taken, taken)
    return taken


def _read_meta(params: Params) -> dict[str, Any]:
    """What `data/` is. Raises UserError where it was made with other parameters, or no file can hold its samples."""
    meta = read_json(Workspace().data.meta)
    fits.check_data(params, meta)
    inputs = inputs_of(meta)
    inputs.to_file(inputs.empty(1, meta)[0])
    return meta


def _sort_inbox(
    params: Params, place: str, meta: dict[str, Any], before: Sequence[tuple[str, str]]
) -> tuple[Sorted, list[str]]:
    """What became of all that is in the inbox, and warnings; new samples are written aside."""
    aside, inputs = Workspace().refresh.aside, inputs_of(meta)
    loose = "labelled" in meta and meta["labelled"]["train"] < meta["splits"]["train"]  # as some of the pool are
    open_inbox = _texts if inputs.NAME == "texts" else _images
    items, warnings = open_inbox(params, place, meta, loose)
    shutil.rmtree(aside, ignore_errors=True)
    done = sort(
        items,
        _held(meta["classes"], before),
        inputs,
        lambda id, name, sample: _write_bytes(aside / name / f"{id}{inputs.SUFFIX}", inputs.to_file(sample)),
        loose,
    )
    return done, warnings()


def _images(params: Params, place: str, meta: dict[str, Any], loose: bool) -> Opened:
    """Where the pool's samples were made smaller, these are kept as they came."""
    inbox = Inbox(place)
    entries = inbox.entries()
    valid = "valid folders: " + ", ".join(meta["classes"])
    valid += ", or none: images in the inbox itself have no label" if loose else ""
    _check_classes({name for _, name, _ in entries}, meta["classes"], place, f"{valid}. Rename or move it")
    inside = [entry for entry in entries if loose or entry[1] is not None]
    if "originals" in meta:
        images = inbox.originals(inside, params.data.channels, meta["channels"])
    else:
        images = inbox.images(inside, (meta["channels"], meta["height"], meta["width"]))

    def items() -> Iterator[Item]:
        for name, of, _ in entries:
            found = next(images) if loose or of is not None else None
            yield Item(name, of, None, found) if isinstance(found, str) else Item(name, of, found)

    return items(), inbox.depths.warnings


def _texts(params: Params, place: str, meta: dict[str, Any], loose: bool) -> Opened:
    tables = Tables(place, params.data, meta["classes"])
    valid = "valid: " + ", ".join(meta["classes"]) + (", or no label" if loose else "")

    def items() -> Iterator[Item]:
        for item in tables.items():
            check({item.of})  # again: a table may be written meanwhile
            yield item

    def check(found: set[str | None]) -> None:
        _check_classes(found, meta["classes"], place, f"{valid}. Mend the labels")

    check({item.of for item in tables.items()})
    return items(), list


def _move(new: dict[str, str], folder: Path, suffix: str) -> None:
    """Move new samples from aside into the folder of additions; which they are is written first."""
    refresh = Workspace().refresh
    if new:
        write_json(refresh.taking, {"samples": sorted(new)})
        for id, name in new.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            os.replace(refresh.aside / name / f"{id}{suffix}", folder / name / f"{id}{suffix}")
    shutil.rmtree(refresh.aside, ignore_errors=True)


def _write_bytes(path: Path, content: bytes) -> None:
    with atomic(path) as file:
        file.write(content)


def _settled(folder: Path, recorded: str) -> list[tuple[str, str]]:
    """What the folder holds, once it is sure that it is what params.yaml says, or what a take that was killed has added to it.

    Raises UserError where it is neither.
    """
    samples = additions.listed(folder)
    taking = Workspace().refresh.taking
    begun = set(read_json(taking)["samples"]) if taking.exists() else set()
    found = additions.digest(samples)
    if recorded not in (found, additions.digest(one for one in samples if one[0] not in begun)):
        raise UserError(
            f"data.additions: {folder}/ holds {len(samples)} samples with the digest {found[:12]}…, params.yaml says {recorded[:12]}…; "
            f"{additions.MEND}, but the folder was changed otherwise. Nothing was taken. If you mean what it holds now, set "
            f"data.additions to {{folder: {folder}, digest: {found}}}"
        )
    return samples


def _held(classes: list[str], samples: Sequence[tuple[str, str]]) -> Held:
    held: Held = {}
    for split in ("train", "val", "test"):  # as RANK in tuition/sources/split.py: who comes last keeps it
        ids, labels = (read_array(path) for path in (Workspace().split(split).ids, Workspace().split(split).labels))
        names = [classes[label] if label >= 0 else "" for label in labels.tolist()]
        held |= {id.decode(): (split, name) for id, name in zip(ids.tolist(), names, strict=True)}
    return held | {id: ("additions", name) for id, name in samples}


def _check_classes(found: set[str | None], classes: list[str], place: str, what_to_do: str) -> None:
    strange = sorted({name for name in found if name is not None} - set(classes))
    if strange:
        raise UserError(
            f"refresh.inbox: {place}: {', '.join(repr(name) for name in strange[:5])}: a class never seen; {what_to_do}; nothing was "
            "taken. A new class needs new data of its own: data.source"
        )
