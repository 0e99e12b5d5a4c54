"""A chat completion that came as a stream of events, as some gateways send it though none was asked for: its chunks put together."""

from collections.abc import Iterator
from typing import Any

from tuition.teachers.formats.bodies import Malformed, json_object, shown

BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")  # of a line of server-sent events; JSON begins otherwise
END = "[DONE]"


def completion(body: bytes) -> dict[str, Any]:
    """The chat completion in `body`, whole or in chunks. Raises Malformed where there is none, or its stream was cut off."""
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(BEGINNINGS):
        return json_object(body)
    whole: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    ended = False
    for data in _events(body):
        if data == END:
            ended = True
            continue
        chunk = json_object(data, "an event that is ")
        whole |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for part in chunk.get("choices") or []:
            if isinstance(part, dict):
                index = part.get("index")
                _add(choices.setdefault(index if isinstance(index, int) else 0, {}), part)
    ended = ended or "error" in whole or any(one.get("finish_reason") for one in choices.values())
    if not ended:
        raise Malformed(f"a stream of events that was cut off: {shown(body)}", spoilt=True)
    return whole | ({"choices": [{**one, "index": index} for index, one in sorted(choices.items())]} if choices else {})


def _events(body: bytes) -> Iterator[str]:
    """The data of each event: its lines that begin with `data:`, up to an empty one."""
    lines: list[str] = []
    for line in [*body.decode("utf-8-sig", errors="replace").splitlines(), ""]:
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines).strip()
            lines = []


def _add(choice: dict[str, Any], part: dict[str, Any]) -> None:
    """Add a chunk's part of a choice: texts follow one another, and so do the log-probabilities of tokens."""
    said = part.get("delta") or part.get("message")
    if isinstance(said, dict):
        message = choice.setdefault("message", {})
        for name, value in said.items():
            before = message.get(name)
            both = isinstance(before, str) and isinstance(value, str) and name in ("content", "refusal")
            if value is not None:
                message[name] = before + value if both else value  # type: ignore[operator]
    given = part.get("logprobs")
    content = given.get("content") if isinstance(given, dict) else None
    if isinstance(content, list):
        choice.setdefault("logprobs", {"content": []})["content"].extend(content)
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]
