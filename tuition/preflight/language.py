"""What a method of language models needs of the texts that a budget buys."""

from __future__ import annotations

from tuition.errors import UserError
from tuition.methods import Card
from tuition.params import Params


def check_texts(params: Params, name: str, about: Card) -> None:
    """Raises UserError where a method learns from the texts that the teacher writes, and it is to write none."""
    if about.signals == ("text",) and params.teach.texts == "references":
        raise UserError(
            f"teach.texts: found references, but {name!r} learns from texts that the teacher writes; set own, or leave it out: 'sft' "
            "learns from references, 'token-kd' from what the teacher says of either"
        )
