"""One kind of error for everything a user can mend, and the entry point that prints it as one message, not a traceback."""

import difflib
import sys
from collections.abc import Callable, Iterable


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


def run(main: Callable[[list[str]], object]) -> None:
    """Run a stage's `main(argv)`; a UserError becomes one line on stderr and its exit status."""
    try:
        main(sys.argv[1:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
