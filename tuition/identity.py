"""Who an answer says it came from: the name and version of the model, and the backend that ran it."""

from dataclasses import dataclass

LONGEST = 200  # characters of a name


@dataclass(frozen=True)
class Identity:
    """What an answer names; "" where it names nothing. A `backend` changes often and stands for no other model."""

    model: str = ""
    version: str = ""
    backend: str = ""

    def __bool__(self) -> bool:
        return bool(self.model or self.version or self.backend)

    def __str__(self) -> str:
        named = {name: value for name, value in vars(self).items() if value}
        return ", ".join(f"{name} {value!r}" for name, value in named.items()) or "no model"


NOBODY = Identity()


def identity(model: object = None, version: object = None, backend: object = None) -> Identity:
    """The identity that a server's words make, whatever they are: text and whole numbers count, the beginning of each."""
    return Identity(*(_name(one) for one in (model, version, backend)))


def _name(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, str | int):
        return ""
    return "".join(one for one in str(given)[:LONGEST] if one.isprintable()).strip()
