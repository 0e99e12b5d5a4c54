"""The kinds of teachers, and loading one: an explicit dict, and classes of the user's own.

Each kind's module is imported when a teacher of it is loaded.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tuition.errors import unknown
from tuition.inputs.kinds import inputs_of
from tuition.params.teacher import (
    KINDS,
    CheckpointSettings,
    CustomSettings,
    ExpertsSettings,
    FunctionSettings,
    HttpSettings,
    LanguageSettings,
    MlflowSettings,
    OipSettings,
    OpenAISettings,
    SentenceSettings,
    ServerSettings,
    TableSettings,
    TeacherSettings,
)
from tuition.teachers.protocol import Teacher
from tuition.teachers.shown import Facts, as_shown, facts_as_shown

if TYPE_CHECKING:
    from tuition.teachers.http.format import Format


def load_teacher(settings: TeacherSettings, facts: Facts) -> Teacher:
    """The teacher of `settings` (the section `teacher`) for data with the facts `facts`. Raises UserError where it cannot be had."""
    settings, facts = as_shown(settings, facts), facts_as_shown(settings, facts)
    if isinstance(settings, ServerSettings):
        from tuition.teachers.http.teacher import HttpTeacher

        return HttpTeacher(_format(settings, facts), settings)
    from tuition.teachers.local import InProcess

    match settings:
        case CheckpointSettings() if inputs_of(facts).NAME == "texts":
            from tuition.teachers.classifier import load_classifier

            return InProcess(load_classifier(settings, facts))
        case CheckpointSettings():
            from tuition.teachers.checkpoint import load_checkpoint

            return InProcess(load_checkpoint(settings, facts))
        case ExpertsSettings():
            from tuition.teachers.experts import load_experts

            return InProcess(load_experts(settings, facts))
        case FunctionSettings():
            from tuition.teachers.function import load_function

            function = load_function(settings, facts)
            return InProcess(function, settings.max_in_flight, settings.patience, settings.retry, settings.name)
        case TableSettings():
            from tuition.teachers.table.teacher import load_table

            return InProcess(load_table(settings, facts))
        case SentenceSettings():
            from tuition.teachers.sentence import load_sentence

            return InProcess(load_sentence(settings, facts))
        case LanguageSettings():
            from tuition.teachers.language import load_language

            return InProcess(load_language(settings, facts))
        case CustomSettings():
            from tuition.teachers.custom import load_custom

            teacher = load_custom(settings, facts)
            return InProcess(teacher, teacher.max_in_flight)
    raise unknown("teacher.kind", settings.kind, KINDS)


def _format(settings: ServerSettings, facts: Facts) -> "Format":
    match settings:
        case MlflowSettings():
            from tuition.teachers.formats.mlflow import MlflowFormat

            return MlflowFormat(settings, facts)
        case OipSettings():
            from tuition.teachers.formats.oip import OipFormat

            return OipFormat(settings, facts)
        case OpenAISettings(answers="embedding"):
            from tuition.teachers.formats.embeddings import EmbeddingsFormat

            return EmbeddingsFormat(settings, facts)
        case OpenAISettings():
            from tuition.teachers.formats.openai import OpenAIFormat

            return OpenAIFormat(settings, facts)
        case HttpSettings():
            from tuition.teachers.formats.custom import load_format

            return load_format(settings, facts)
    raise unknown("teacher.kind", settings.kind, KINDS)


def fingerprint(description: dict[str, Any]) -> str:
    """The sha256 (hex) of what makes a teacher's answers what they are."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()
