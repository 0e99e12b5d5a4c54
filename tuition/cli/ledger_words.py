"""What the ledger holds of a teacher and of a call, in words."""

from datetime import UTC, datetime
from typing import Any


def answered_by(teacher: dict[str, Any]) -> list[str]:
    """The models that its answers name, and what its server charged for without listing it."""
    keys = ("model", "version", "backend")
    listed = [
        (", ".join(f"{key} {one[key]}" for key in keys if one[key]), one["calls"]) for one in teacher["answered_by"]
    ]
    lines = [f"    answered by {_printable(named)}: {calls} calls" for named, calls in listed]
    if teacher["unlisted_tokens"]:
        lines.append(
            f"    {teacher['unlisted_tokens']} of its tokens are counted in totals alone: they count as of answers"
        )
    return lines


def bounds(caps: dict[str, Any]) -> str:
    """A teacher's bounds."""

    def words(bound: dict[str, Any]) -> str:
        return ", ".join(f"{bound[unit]:g} {unit}" for unit in ("calls", "tokens", "money") if bound[unit] is not None)

    listed = [f"cap {words(caps)}"] if words(caps) else []
    if words(caps["period"]):
        listed.append(f"cap {words(caps['period'])} a {caps['period']['every']}")
    return "; ".join(listed) or "no cap"


def call_line(call: dict[str, Any]) -> str:
    """One call, in a line."""
    at = next((call[key] for key in ("ended_at", "sent_at", "reserved_at") if call[key] is not None), None)
    when = "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S ")
    bill = f"cost {call['cost']:g}" + (f" {call['tokens']} tokens" if call["tokens"] else "")
    what = f"{call['state']}  sample {call['sample'][:16]} {call['view']}  key {call['key']}"
    file = f"  {_printable(call['file'])}" if call["file"] else ""
    why = _printable(call["detail"] or "")  # it may quote a server
    return f"{call['id']}  {when}{what}{file}  {bill}  {why}".rstrip()


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() else "·" for one in text)
