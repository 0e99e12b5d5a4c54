"""What a teacher is shown of a sample: the original, or what `prepare` stored for the student.

A server, a function or a class is shown the original, as it came or at `teacher.resize` pixels a side. Where that is the side that
`data.resize` gave, it is shown what is stored: answers that were once bought so stay owned. A checkpoint is shown originals where it has
a `teacher.resize` of its own; else what is stored. Views and mixed inputs are made of what is stored.
"""

from typing import Any

from tuition.errors import UserError
from tuition.params import Teach
from tuition.params.teacher import (
    CheckpointSettings,
    CustomSettings,
    ExpertsSettings,
    FunctionSettings,
    MlflowSettings,
    OipSettings,
    OpenAISettings,
    TeacherSettings,
)

ONE_SIZE = (MlflowSettings, OipSettings)  # what these take is one array for all
Facts = dict[str, Any]  # of the data: its classes, and what its kind of inputs says of the samples


def shows_originals(settings: TeacherSettings, facts: Facts) -> bool:
    """Whether a teacher is shown originals of data that was made smaller: then facts say what sizes `originals` have.

    Raises UserError where it cannot be shown originals as they are.
    """
    if "originals" not in facts or isinstance(settings, ExpertsSettings):
        return False
    side = side_of(settings)
    if side == facts["height"] or (side is None and isinstance(settings, CheckpointSettings)):
        return False
    if side is None:
        _check_sizes(settings, facts)
    return True


def sends_files(settings: TeacherSettings) -> bool:
    """Whether it is sent originals as the files that they are (`teacher.options.send: original`)."""
    return isinstance(settings, OpenAISettings) and settings.options.get("send") == "original"


def of_stored(teach: Teach, facts: Facts) -> Facts:
    """The facts as teachers are to see them: views and mixed inputs are made of what is stored, whatever the originals are."""
    if teach.views > 1 or teach.mixed:
        return {key: value for key, value in facts.items() if key != "originals"}
    return facts


def fitting(settings: TeacherSettings, facts: Facts) -> dict[str, int]:
    """Keys of `teacher` by which it can be shown originals of several sizes; none where it can be shown them as it is."""
    try:
        shows_originals(settings, facts)
    except UserError:
        return {"resize": facts["height"]} if isinstance(settings, ONE_SIZE) else {"batch_size": 1}
    return {}


def side_of(settings: TeacherSettings) -> int | None:
    """`teacher.resize`."""
    return getattr(settings, "resize", None)


def resizes_itself(settings: TeacherSettings) -> bool:
    """Whether what is stored reaches it at its size by code of its own."""
    return not isinstance(settings, FunctionSettings | CustomSettings)


def as_shown(settings: TeacherSettings, facts: Facts) -> TeacherSettings:
    """The settings that say what its answers are: showing what is stored, at its size, is what no `resize` said once."""
    if "originals" not in facts or isinstance(settings, CheckpointSettings | ExpertsSettings):
        return settings
    return settings.model_copy(update={"resize": None}) if side_of(settings) == facts["height"] else settings


def facts_as_shown(settings: TeacherSettings, facts: Facts) -> Facts:
    """The facts of the data with height and width of what is shown in pixels; None where they differ from sample to sample.

    Raises UserError as `shows_originals`.
    """
    if not shows_originals(settings, facts):
        return facts
    side = side_of(settings)
    if side:
        return {**facts, "height": side, "width": side}
    sizes = {name: low if low == high else None for name, (low, high) in facts["originals"].items()}
    return {**facts, **(sizes if _all_of_one_size(facts) else dict.fromkeys(sizes))}


def _all_of_one_size(facts: Facts) -> bool:
    return all(low == high for low, high in facts["originals"].values()) and not facts.get("additions")


def _check_sizes(settings: TeacherSettings, facts: Facts) -> None:
    if _all_of_one_size(facts):
        return
    (low, high), (left, right) = facts["originals"]["width"], facts["originals"]["height"]
    found = (
        f"originals of {low}x{left} to {high}x{right} pixels, which the teacher {settings.name!r} is shown as they are"
    )
    stored = f"{facts['height']} shows what students see"
    if isinstance(settings, ONE_SIZE):
        raise UserError(
            f"teacher.resize: found null and {found}; kind {settings.kind!r} takes one size: set the pixels a side that it wants ({stored})"
        )
    if settings.batch_size > 1:
        raise UserError(
            f"teacher.batch_size: found {settings.batch_size} and {found}; set teacher.batch_size: 1, or teacher.resize to the pixels a "
            f"side that it wants ({stored})"
        )
