"""What a study of texts may not ask for: keys of `params.yaml` that are about images. Told by their names, before anything is read."""

from collections.abc import Iterator
from typing import Any

from tuition.errors import UserError, unknown
from tuition.models import TRANSFORMERS
from tuition.params.schema import Params, Training
from tuition.params.teacher import CUSTOM
from tuition.signals import MAIN

OF_TEXTS = "csv", "jsonl", "parquet", "hf", "wordnet"  # kinds of data.source
TEACHERS = (
    "checkpoint",
    "python",
    "table",
    "openai",
    "mlflow",
    "oip",
    "http",
    "sentence",
    "language",
    CUSTOM,
)  # kinds of teachers that take texts
OWN_ENCODERS = ("tfidf", "sentence")  # which read nothing but texts
ENCODERS = ("none", "tfidf", "sentence", "file")


def check_texts(params: Params, where: str) -> None:
    """Raises UserError naming the key of `params` that does not go with texts, or goes with texts alone; `where` names the file."""
    if params.data.inputs != "texts":
        _check_images(params, where)
        return
    kind = params.data.source.partition(":")[0]
    if params.data.task == "classification" and kind not in OF_TEXTS:
        raise unknown(f"{where}: data.source", kind, OF_TEXTS, "(kinds with texts, for which data.columns.text asks)")
    for key, found, plain, why in _of_images(params):
        if found != plain:
            raise UserError(f"{where}: {key}: found {found!r}, but the samples are texts, {why}: leave it out")
    for number, one in enumerate((params.teacher, *params.teachers)):
        if one.kind not in TEACHERS and ":" not in one.kind:
            key = f"teachers.{number - 1}" if number else "teacher"
            raise UserError(
                f"{where}: {key}.kind: found {one.kind!r}, which takes images, but the samples are texts; valid: {', '.join(TEACHERS)}"
            )
        if one.kind == "checkpoint" and one.weights == MAIN:
            key = f"teachers.{number - 1}" if number else "teacher"
            raise UserError(
                f"{where}: {key}.weights: found {MAIN!r}, which the pretrain stage trains from images, but the samples are texts: name "
                "the folder of a classifier that transformers saved"
            )
    if params.encode.source.partition(":")[0] not in ENCODERS:
        raise UserError(
            f"{where}: encode.source: found {params.encode.source!r}, which sees images, but the samples are texts; valid: none, tfidf, "
            "sentence:<folder>, file:<path>"
        )
    _check_student(params, f"{where}: student")


def _of_images(params: Params) -> Iterator[tuple[str, Any, Any, str]]:
    """Key, what it holds, what it holds where nobody asks for it, and why a text has no such thing."""
    size = "which have no pixels"
    yield "data.resize", params.data.resize, None, size
    yield "data.channels", params.data.channels, None, size
    for number, one in enumerate((params.teacher, *params.teachers)):
        for name in ("resize", "mean", "std"):
            key = f"teachers.{number - 1}" if number else "teacher"
            yield f"{key}.{name}", getattr(one, name, None), None, size
    if params.train.crop:  # the default means nothing here, and `tuition params` writes it down
        yield "train.crop", params.train.crop, Training.model_fields["crop"].default, "which are not cropped"
    yield "train.flip", params.train.flip, False, "which are not mirrored"
    if not params.student.arch.startswith(f"{TRANSFORMERS}:"):
        yield "student.taps", params.student.taps, [], f"and of their students {TRANSFORMERS}:<folder> alone has maps"
    yield "teach.views", params.teach.views, 1, "which have no views"
    yield "teach.mixed", params.teach.mixed, False, "and two cannot be mixed into one that a teacher could be asked"
    yield "transfer.source", params.transfer.source, None, "for which there is no linear probe on other data"


def _check_student(params: Params, where: str) -> None:
    """Raises UserError for an encoder that the architecture does not begin with, or lacks."""
    from tuition.models import BEGUN

    student = params.student
    if student.encoder is not None and student.arch not in BEGUN:
        raise UserError(
            f"{where}.encoder: found {student.encoder!r}, but {student.arch!r} begins with no encoder's tokens, as {', '.join(BEGUN)} do: "
            "leave it out"
        )
    if student.arch == "static" and student.encoder is None:
        raise UserError(f"{where}.encoder: found null; 'static' is made of an encoder: name its folder")
    if student.vocabulary is not None and student.folder is not None:
        raise UserError(
            f"{where}.vocabulary: found {student.vocabulary}, but the student reads the tokens of {student.folder}: leave it out"
        )


def _check_images(params: Params, where: str) -> None:
    found = {
        "student.encoder": params.student.encoder,
        "student.vocabulary": params.student.vocabulary,
        "student.max_tokens": params.student.max_tokens,
        "train.token_dropout": params.train.token_dropout or None,
        "train.span_masking": params.train.span_masking or None,
        "encode.source": params.encode.source if params.encode.source.partition(":")[0] in OWN_ENCODERS else None,
    }
    for number, one in enumerate((params.teacher, *params.teachers)):
        found[f"teachers.{number - 1}.max_text_tokens" if number else "teacher.max_text_tokens"] = getattr(
            one, "max_text_tokens", None
        )
    for key, value in found.items():
        if value is not None:
            raise UserError(
                f"{where}: {key}: found {value!r}, which is of texts, but the samples are images: leave it out; where they are texts, "
                "data.columns.text names their column"
            )
