"""Who became champion when and why, kept in the registry itself: a tag `promotion.<UTC time>` on a version for each event.

An event: {"event": "promoted" | "demoted", "at", "version", "cell", "by", "over" (the champion before) or "to" (the one after),
"reason", "forced", "verdict"}. The alias says who is champion; the events say how it came to be.
"""

import getpass
import json
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict

from tuition.errors import UserError
from tuition.registry.registry import CHAMPION, champion_of, versions_of
from tuition.registry.verdict import Verdict
from tuition.tracking.store import Store, store_lock

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

TAG = "promotion."


class Event(TypedDict, total=False):
    event: str
    at: str
    version: str
    cell: str | None
    by: str
    reason: str
    over: str | None
    to: str
    forced: bool
    verdict: Verdict


def promotion_events(store: Store, name: str) -> list[Event]:
    """Every promotion and demotion of the registered model, oldest first."""
    tags = [item for version in versions_of(store, name) for item in version.tags.items() if item[0].startswith(TAG)]
    return [json.loads(text) for _, text in sorted(tags)]


def promote_version(
    store: Store, name: str, version: "ModelVersion", verdict: Verdict, *, by: str, reason: str, forced: bool = False
) -> Event:
    """Give `version` the alias `champion`, and write down why."""
    with store_lock(store.uri):
        before = champion_of(store, name)
        over = None if before is None else str(before.version)
        event = _event("promoted", version, by, reason)
        event |= {"over": over, "forced": forced, "verdict": verdict}
        _write(store, name, version, event)  # first: killed between the two, the next run promotes again
        store.client.set_registered_model_alias(name, CHAMPION, version.version)
    return event


def demote_champion(store: Store, name: str, *, by: str, reason: str) -> Event:
    """Give the alias `champion` back to the version that had it before.

    Raises UserError where there is no champion, and where none is known to have been before it.
    """
    with store_lock(store.uri):
        champion = champion_of(store, name)
        if champion is None:
            raise UserError(f"{name!r} has no champion in {store.shown}; `tuition promote VERSION` makes one")
        versions = {str(version.version): version for version in versions_of(store, name)}
        former = champion_before(promotion_events(store, name), str(champion.version), versions)
        if former is None:
            raise UserError(
                f"{name!r}: version {champion.version} is the first champion that is known, so there is none to go back to; "
                "`tuition promote VERSION` names another"
            )
        event = _event("demoted", champion, by, reason)
        event |= {"to": former}
        _write(store, name, champion, event)
        store.client.set_registered_model_alias(name, CHAMPION, former)
    return event


def champion_before(events: Sequence[Event], champion: str, there: Container[str]) -> str | None:
    """The version that was champion before `champion`, of those that are `there` still.

    Each promotion is laid on a pile and each demotion taken off it, so that demoting twice goes back twice. A champion that
    somebody set by hand is on no pile: before it was the one on top.
    """
    pile: list[str] = []
    for event in events:
        if event["event"] == "promoted":
            pile += [one for one in (event["over"], event["version"]) if one is not None and pile[-1:] != [one]]
        elif event["version"] in pile:
            del pile[len(pile) - 1 - pile[::-1].index(event["version"]) :]
    if champion in pile:
        pile = pile[: len(pile) - 1 - pile[::-1].index(champion)]
    return next((version for version in reversed(pile) if version in there and version != champion), None)


def last_demotion(version: "ModelVersion") -> Event | None:
    """The event by which a version was demoted, where nothing has promoted it since."""
    own = sorted(item for item in version.tags.items() if item[0].startswith(TAG))
    last = json.loads(own[-1][1]) if own else None
    return last if last and last["event"] == "demoted" else None


def acting_user(how: str) -> str:
    """Who does it: the user's name, and by what."""
    try:
        return f"{getpass.getuser()}, {how}"
    except (KeyError, OSError):  # a container's user without a name
        return how


def _event(kind: str, version: "ModelVersion", by: str, reason: str) -> Event:
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    return {
        "event": kind,
        "at": now,
        "version": str(version.version),
        "cell": version.tags.get("cell"),
        "by": by,
        "reason": reason,
    }


def _write(store: Store, name: str, version: "ModelVersion", event: Event) -> None:
    moment = event["at"].partition("+")[0].replace("-", "").replace(":", "")
    store.client.set_model_version_tag(name, version.version, f"{TAG}{moment}", json.dumps(event, sort_keys=True))
