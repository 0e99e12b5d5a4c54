"""What makes two studies two: the fields of their sections but those marked OPERATIONAL, and those marked LATER at their defaults."""

from typing import Any

from tuition.params.bounds import LATER, OPERATIONAL, Section
from tuition.params.teacher import KINDS, TeacherSettings

# In which order a teacher's identity has its keys, as in the studies that MLflow holds.
ORDER = (
    *("kind", "name", "version", "weights", "arch", "signals", "taps", "experts", "free", "choose", "function"),
    *("model", "format", "options", "scores", "mean", "std", "resize", "classes"),
)


def identity(section: Section) -> dict[str, Any]:
    """What of a section makes two studies two: its fields but those marked OPERATIONAL, and LATER at their defaults, as plain values.

    A teacher's has the keys of all kinds, those of others with their defaults: so studies had it when a teacher's section was one
    for all kinds, and a study keeps its run in MLflow.
    """
    dumped = section.model_dump()
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if OPERATIONAL in field.metadata or (LATER in field.metadata and value == field.default):
            continue
        if isinstance(value, Section):
            found[name] = identity(value)
        elif isinstance(value, list) and any(isinstance(one, Section) for one in value):
            found[name] = [identity(one) for one in value]
        else:
            found[name] = dumped[name]
    return _with_keys_of_all_kinds(found) if isinstance(section, TeacherSettings) else found


def _with_keys_of_all_kinds(found: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        name: field.default
        for kind in KINDS.values()
        for name, field in kind.model_fields.items()
        if OPERATIONAL not in field.metadata and LATER not in field.metadata
    }
    # The identity of `teachers` is their text, so the order of keys counts; keys that come to be later stand behind.
    ordered = {name: defaults[name] for name in ORDER} | defaults
    return ordered | found
