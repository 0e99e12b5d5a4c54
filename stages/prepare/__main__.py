"""`python -m stages.prepare`: read `data.source`, split it, write `data/`."""

from pathlib import Path

from tuition import params
from tuition.errors import read_arguments, run
from tuition.params.places import BROUGHT, linked_folders, unwatched
from tuition.sources import alter
from tuition.sources.splits import summary, write_splits
from tuition.workspace import Workspace, given


def main(argv: list[str]) -> None:
    read_arguments("stages.prepare", argv)
    data = params.load().data
    meta = write_splits(data, Workspace().data.path)
    kind, _, place = data.source.partition(":")
    if kind in BROUGHT and Path(data.watch) != given(place):
        print(f"data.watch: {data.watch!r} is not {place!r}, so changed files there will not re-run this stage")
    elif kind in ("folder", "hf") and (links := linked_folders(Path(data.watch))):
        print(
            f"data.watch: DVC follows no links, so changed files behind {links[0]} ({len(links)} such) will not re-run this stage"
        )
    if apart := unwatched(data.evaluation, data.watch, data.watch_evaluation):
        print(
            f"data.watch_evaluation: {data.watch_evaluation!r} is not {apart!r}, so a change there will not re-run this stage"
        )
    if kind in ("csv", "jsonl") and data.inputs == "images":
        print(
            f"data.source: a change of the images that {place!r} names does not re-run this stage; `dvc repro -f prepare` does"
        )
    print(summary(meta))
    if "altered" in meta:
        print(alter.told(meta["altered"]))


if __name__ == "__main__":
    run(main)
