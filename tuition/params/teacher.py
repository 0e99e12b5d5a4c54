"""The section `teacher` of `params.yaml`: a class for each kind.

A kind takes the keys of its class and no others.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from tuition.params.bounds import LATER, OPERATIONAL, AnswerColumns, Section
from tuition.params.teacher_keys import Check, Form, Formed, Scores, Side, TeacherSettings
from tuition.ranges import Count, Positive
from tuition.signals import with_votes

__all__ = ["KINDS", "AnyTeacher", "Check", "Form", "Formed", "Scores", "TeacherSettings", "kind_of", "teacher_settings"]


class Network(Section):
    arch: str
    weights: str


class CheckpointSettings(TeacherSettings):
    """A local network with its weights in a file; of texts, a folder with a classifier."""

    kind: Literal["checkpoint"] = "checkpoint"
    signals: Annotated[list[str], Field(min_length=1)] = Field(default=["logits", "embedding"])
    mean: list[float] | None = None
    std: list[Positive] | None = None
    resize: Side | None = None
    precision: Annotated[Literal["32-true", "bf16-mixed"], OPERATIONAL] = "32-true"
    max_text_tokens: Annotated[Count | None, LATER] = None

    free_of_charge: ClassVar[bool] = True

    @property
    def offered(self) -> tuple[str, ...]:
        return tuple(self.signals)


class ExpertsSettings(TeacherSettings):
    """Several local networks, small to large, of which one answers for each sample."""

    kind: Literal["experts"] = "experts"
    experts: list[Network] = Field(default=[])
    free: Network | None = None
    choose: Literal["difficulty", "anti", "random", "mean"] = "difficulty"
    mean: list[float] | None = None
    std: list[Positive] | None = None
    resize: Side | None = None
    precision: Annotated[Literal["32-true", "bf16-mixed"], OPERATIONAL] = "32-true"

    families: ClassVar[tuple[str, ...] | None] = ("logits", "difficulty", "expert")
    free_of_charge: ClassVar[bool] = True

    @model_validator(mode="after")
    def _two_and_a_free_one(self) -> "ExpertsSettings":
        if len(self.experts) < 2 or self.free is None:
            raise ValueError(
                f"teacher.experts: found {len(self.experts)} and teacher.free: {'none' if self.free is None else 'one'}; kind 'experts' "
                "needs two or more {arch, weights}, small to large, and a free network {arch, weights}"
            )
        return self


class FunctionSettings(Formed):
    """A function of the user's."""

    kind: Literal["python"] = "python"
    function: str | None = None
    max_in_flight: Annotated[Count, OPERATIONAL] = 1
    retry: Annotated[list[str], OPERATIONAL] = Field(default=[])
    resize: Side | None = None

    @model_validator(mode="after")
    def _named(self) -> "FunctionSettings":
        if self.function is None or self.function.count(":") != 1:
            raise ValueError(f"teacher.function: found {self.function!r}; kind 'python' needs 'module:function'")
        return self


class SentenceSettings(TeacherSettings):
    """An encoder of texts in a local folder, as sentence-transformers saves it: it answers with a text's embedding."""

    kind: Literal["sentence"] = "sentence"
    folder: Annotated[str | None, LATER] = None

    families: ClassVar[tuple[str, ...] | None] = ("embedding",)
    free_of_charge: ClassVar[bool] = True

    @model_validator(mode="after")
    def _somewhere(self) -> "SentenceSettings":
        if not self.folder:
            raise ValueError("teacher.folder: missing; kind 'sentence' needs the folder of an encoder of texts")
        return self


class LanguageSettings(TeacherSettings):
    """A language model in a local folder: it writes a text to a prompt, or scores one, and gives its likeliest tokens at each token."""

    kind: Literal["language"] = "language"
    arch: str = "causal-4"
    top_k: Annotated[Count, LATER] = 16
    max_new_tokens: Annotated[Count, LATER] = 48

    families: ClassVar[tuple[str, ...] | None] = ("text", "tops")
    free_of_charge: ClassVar[bool] = True


class TableSettings(Formed):
    """Answers that were paid for elsewhere, in a table."""

    kind: Literal["table"] = "table"
    path: Annotated[str | None, OPERATIONAL] = None
    columns: Annotated[AnswerColumns, LATER] = AnswerColumns()

    @property
    def offered(self) -> tuple[str, ...]:
        return {"labels": ("label",), "embedding": ("embedding",)}.get(self.form, ("logits",))

    @model_validator(mode="after")
    def _somewhere(self) -> "TableSettings":
        for key, of in (
            ("path", "the file with the answers"),
            ("name", "a name: with teacher.version it is the teacher"),
        ):
            if key not in self.model_fields_set or not getattr(self, key):
                raise ValueError(f"teacher.{key}: missing; kind 'table' needs {of}")
        if self.recheck.every is not None:
            raise ValueError(
                f"teacher.recheck.every: found {self.recheck.every}; a table does not change its mind: null"
            )
        return self


class CustomSettings(TeacherSettings):
    """A class of the user's, named by `kind`."""

    kind: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    options: dict[str, Any] = Field(default={})
    resize: Side | None = None


class ServerSettings(TeacherSettings):
    """A teacher that is asked over HTTP."""

    url: Annotated[str | None, OPERATIONAL] = None  # it may hold a password
    model: str | None = None
    options: dict[str, Any] = Field(default={})
    scores: Literal["logits", "probabilities"] = "logits"
    mean: list[float] | None = None
    std: list[Positive] | None = None
    resize: Side | None = None
    api_key_env: Annotated[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None, OPERATIONAL] = None
    max_in_flight: Annotated[Count, OPERATIONAL] = 8
    requests_per_minute: Annotated[Count | None, OPERATIONAL] = None
    tokens_per_minute: Annotated[Count | None, OPERATIONAL] = None
    timeout: Annotated[Positive, OPERATIONAL] = 60.0

    families: ClassVar[tuple[str, ...] | None] = ("logits",)

    @property
    def promised_scores(self) -> str:
        return self.scores

    @model_validator(mode="after")
    def _somewhere(self) -> "ServerSettings":
        if not re.match(r"https?://[^/\s]+", self.url or ""):
            raise ValueError(f"teacher.url: found {self.url!r}; kind {self.kind!r} needs http://host:port or https://…")
        return self


class MlflowSettings(ServerSettings):
    kind: Literal["mlflow"] = "mlflow"


class OipSettings(ServerSettings):
    kind: Literal["oip"] = "oip"


class OpenAISettings(ServerSettings):
    kind: Literal["openai"] = "openai"
    answers: Annotated[Literal["logprobs", "label", "json", "embedding"] | None, LATER] = None
    tokenizer: Annotated[str | None, OPERATIONAL] = None
    added_tokens: Annotated[Count, OPERATIONAL] = 64
    max_text_tokens: Annotated[Count | None, LATER] = None
    text_cut: Annotated[Literal["end", "middle"], LATER] = "end"

    @property
    def offered(self) -> tuple[str, ...]:
        if self.answers == "embedding":
            return ("embedding",)
        if self.answers == "json" and self.options.get("scores") is True:
            return ("label", "logits")
        return ("logits",) if self.answers in (None, "logprobs") else tuple(with_votes(("label",), self.samples))

    @property
    def partial(self) -> bool:
        return self.answers == "json"


class HttpSettings(ServerSettings, Formed):
    """A server with a wire format of the user's own."""

    kind: Literal["http"] = "http"
    format: str | None = None

    families: ClassVar[tuple[str, ...] | None] = None


CUSTOM = "module:Class"  # stands for the kinds that users name
KINDS: dict[str, type[TeacherSettings]] = {
    "checkpoint": CheckpointSettings,
    "python": FunctionSettings,
    "table": TableSettings,
    "sentence": SentenceSettings,
    "language": LanguageSettings,
    "experts": ExpertsSettings,
    "mlflow": MlflowSettings,
    "oip": OipSettings,
    "openai": OpenAISettings,
    "http": HttpSettings,
    CUSTOM: CustomSettings,
}


def kind_of(section: Any) -> str:
    """The key in KINDS of a section, as it was read or made; a kind that is none stays what it is."""
    kind = section.get("kind", "checkpoint") if isinstance(section, dict) else getattr(section, "kind", None)
    return CUSTOM if isinstance(kind, str) and ":" in kind else str(kind)


AnyTeacher = Annotated[
    Annotated[CheckpointSettings, Tag("checkpoint")]
    | Annotated[FunctionSettings, Tag("python")]
    | Annotated[TableSettings, Tag("table")]
    | Annotated[SentenceSettings, Tag("sentence")]
    | Annotated[LanguageSettings, Tag("language")]
    | Annotated[ExpertsSettings, Tag("experts")]
    | Annotated[MlflowSettings, Tag("mlflow")]
    | Annotated[OipSettings, Tag("oip")]
    | Annotated[OpenAISettings, Tag("openai")]
    | Annotated[HttpSettings, Tag("http")]
    | Annotated[CustomSettings, Tag(CUSTOM)],
    Discriminator(kind_of),
]


def teacher_settings(**section: Any) -> TeacherSettings:
    """The settings of a section, by its `kind`. Raises pydantic's ValidationError."""
    return TypeAdapter(AnyTeacher).validate_python(section)
