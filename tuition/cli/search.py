"""`tuition search`: what a student of retrieval finds for a text."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tuition.cli.console import AsJson, explained, print_table

SHOWN = 80  # characters of a text in a table on the screen


@explained
def search(
    student: Annotated[Path, typer.Argument(help="Its folder, such as students/400-embed-match-0.")],
    queries: Annotated[list[str], typer.Argument(help="Texts that are asked for.")],
    top: Annotated[int, typer.Option(min=1, help="How many documents a query.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Find the documents that come first for a text, by a student of retrieval.

    Example: `tuition search students/400-embed-match-0 "a young dog"`
    """
    from tuition.registry.search import Search

    found = Search(student)(queries, top)
    if as_json:
        answers = [
            {"query": query, "documents": [asdict(one) for one in documents]}
            for query, documents in zip(queries, found, strict=True)
        ]
        typer.echo(json.dumps({"student": str(student), "answers": answers}, indent=2))
        return
    for query, documents in zip(queries, found, strict=True):
        if len(queries) > 1:
            typer.echo(query)
        print_table(
            ["document", "text", "cosine"], [[one.name, _short(one.text), f"{one.score:.4f}"] for one in documents]
        )


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= SHOWN else f"{plain[:SHOWN]} …"
