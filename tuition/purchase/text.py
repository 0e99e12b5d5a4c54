"""What is said to the user while something is bought, and text that every database takes."""

from contextlib import suppress


def say(text: str) -> None:
    """To the user, if anybody listens still."""
    with suppress(OSError, ValueError):
        print(text, flush=True)


def plain(text: str) -> str:
    """Text of a teacher, which may hold what no database takes: halves of characters."""
    return text.encode(errors="replace").decode()
