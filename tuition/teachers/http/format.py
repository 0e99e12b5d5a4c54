"""What a server's format offers to the client: how a question is written, how an answer is read. Pure: it sends nothing."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tuition.teachers.protocol import Reply

BEARER = ("Authorization", "Bearer {}")


@dataclass(frozen=True)
class HttpRequest:
    """One question for B inputs as it is sent: `path` is appended to `teacher.url`, `content` is the body."""

    path: str
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)


class Format(Protocol):
    """`signals`: what an answer holds. `formats/mlflow.py` is one.

    More attributes are optional: `authorization`, the name of the header that takes the key and its value with {} for the key,
    where that is not `Authorization: Bearer`; `keyed`, True where requests hold the key of each input; `inner_status(body, headers)`,
    the status of an error that an answer with status 200 tells of, None where it tells of none; `counts_tokens`, `most_tokens(inputs)` and
    `shortened(inputs)`, as a `Teacher` has them.
    """

    @property
    def signals(self) -> Sequence[str]: ...

    def options(self) -> dict[str, Any]:
        """What decides the answers, for the teacher's fingerprint: JSON."""
        ...

    def request(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        """The question on B inputs, one key each."""
        ...

    def read(self, body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> Reply:
        """The answer to the request with these keys."""
        ...

    def probes(self) -> list[str]:
        """Paths to GET before the first call, free of charge."""
        ...

    def check(self, path: str, status: int, body: bytes) -> None:
        """Raises Stop where what a probe brought says that no call can succeed."""
        ...


def request_key(keys: Sequence[str]) -> str:
    """A request's own key: that of its one input, or one made of those of all."""
    return keys[0] if len(keys) == 1 else hashlib.sha256("".join(keys).encode()).hexdigest()[:32]
