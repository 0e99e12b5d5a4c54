"""One kind of error for everything a user can mend, and the entry point that prints it as one message, not a traceback."""

import difflib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any


class UserError(Exception):
    """Something the user can mend. The text names the file or key, what was found, and what is valid."""

    status = 2  # of the process that it ends


LATER = 75  # the status of an error that may be none in a minute (BSD's EX_TEMPFAIL): flows try the stage again


class Unreachable(UserError):
    """A server that does not answer just now."""

    status = LATER


def unknown(where: str, found: object, valid: Iterable[str], hint: str = "") -> UserError:
    """The error for a name that is not in a list: names the key, the finding, the nearest match and every choice."""
    choices = sorted(valid)
    near = difflib.get_close_matches(str(found), choices, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return UserError(
        f"{where}: {found!r} is not known.{guess} Valid: {', '.join(choices)}.{' ' + hint if hint else ''}"
    )


UNSPEAKABLE = (
    "backslashreplace"  # how what no encoding has, such as a byte of a file's name that is no UTF-8, is told everywhere
)


def as_utf8(text: str) -> bytes:
    """Text as any reader of UTF-8 takes it: a byte of a file's name that is no UTF-8 becomes such as `\\udcff`."""
    return text.encode(errors=UNSPEAKABLE)


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8, so that any table or database can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def speak_any_name() -> None:
    """Make printing fail for no text, whatever a file is called and whatever the terminal's encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=UNSPEAKABLE)


def read_arguments(module: str, argv: Sequence[str], **kinds: type) -> list[Any]:
    """What `python -m module` was given, one value for each of `kinds`: text (str) or a whole number of 0 or more (int).

    Raises UserError, with the usage, where it is something else.
    """
    usage = " ".join([f"usage: python -m {module}", *(f"<{name}>" for name in kinds)])
    if len(argv) != len(kinds):
        takes = f"{len(kinds)} argument{'s' if len(kinds) > 1 else ''}" if kinds else "no arguments"
        raise UserError(f"{module}: found {' '.join(argv)!r}, expected {takes}; {usage}")
    for (name, kind), given in zip(kinds.items(), argv, strict=True):
        if kind is int and not (given.isascii() and given.isdigit()):
            raise UserError(f"{module}: <{name}>: found {given!r}, expected a whole number such as 400; {usage}")
    return [kind(given) for kind, given in zip(kinds.values(), argv, strict=True)]


def run(main: Callable[[list[str]], object]) -> None:
    """Run a stage's `main(argv)`; a UserError becomes one line on stderr and its exit status."""
    speak_any_name()
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
