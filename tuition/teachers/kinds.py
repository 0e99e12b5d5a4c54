"""The kinds of teachers, and loading one: an explicit dict, and classes of the user's own.

Each kind's module is imported when a teacher of it is loaded.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from tuition.errors import unknown
from tuition.params.teacher import Teacher as Settings
from tuition.teachers.protocol import Teacher

Facts = dict[str, Any]  # of the data: channels, height, width, classes, mean, std


def load_teacher(settings: Settings, facts: Facts) -> Teacher:
    """The teacher of `settings` (the section `teacher`) for data with the facts `facts`. Raises UserError where it cannot be had."""
    if ":" in settings.kind:
        return _custom(settings, facts)
    if settings.kind not in KINDS:
        raise unknown("teacher.kind", settings.kind, KINDS)
    return KINDS[settings.kind](settings, facts)


def fingerprint(description: dict[str, Any]) -> str:
    """The sha256 (hex) of what makes a teacher's answers what they are."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def _checkpoint(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.checkpoint import load_checkpoint
    from tuition.teachers.local import InProcess

    return InProcess(load_checkpoint(settings, facts))


def _experts(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.experts import load_experts
    from tuition.teachers.local import InProcess

    return InProcess(load_experts(settings, facts))


def _python(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.function import load_function
    from tuition.teachers.local import InProcess

    return InProcess(load_function(settings))


def _custom(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.custom import load_custom
    from tuition.teachers.local import InProcess

    teacher = load_custom(settings, facts)
    return InProcess(teacher, teacher.max_in_flight)


def _mlflow(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.formats.mlflow import MlflowFormat
    from tuition.teachers.http.teacher import HttpTeacher

    return HttpTeacher(MlflowFormat(settings, facts), settings)


def _oip(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.formats.oip import OipFormat
    from tuition.teachers.http.teacher import HttpTeacher

    return HttpTeacher(OipFormat(settings, facts), settings)


def _openai(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.formats.openai import OpenAIFormat
    from tuition.teachers.http.teacher import HttpTeacher

    return HttpTeacher(OpenAIFormat(settings, facts), settings)


def _http(settings: Settings, facts: Facts) -> Teacher:
    from tuition.teachers.formats.custom import load_format
    from tuition.teachers.http.teacher import HttpTeacher

    return HttpTeacher(load_format(settings, facts), settings)


KINDS: dict[str, Callable[[Settings, Facts], Teacher]] = {
    "checkpoint": _checkpoint,
    "python": _python,
    "experts": _experts,
    "mlflow": _mlflow,
    "oip": _oip,
    "openai": _openai,
    "http": _http,
}
