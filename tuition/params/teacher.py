"""The section `teacher` of `params.yaml`: a class for each kind.

A kind takes the keys of its class and no others.
"""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, TypeAdapter, model_validator

from tuition.params.bounds import LATER, OPERATIONAL, AnswerColumns, Cap, Price, Recheck, Section, Share
from tuition.ranges import Count, Positive
from tuition.signals import with_votes

Check = Literal[  # of `tuition/purchase/plausible/`; `mass` and `bill` of `tuition/teachers/formats/`
    "classes", "labels", "variety", "scale", "repeats", "identity", "mass", "bill"
]
Side = Annotated[int, Field(ge=8)]  # pixels
Scores = Literal["logits", "probabilities"]
Form = Literal["logits", "probabilities", "labels", "top-k"]  # what an answer is


class Network(Section):
    arch: str
    weights: str


class TeacherSettings(Section):
    """What every kind takes. `weights`, `arch` and `taps` are what the pretrain stage makes; the pipeline reads them whatever the kind."""

    kind: str
    name: str = "teacher"
    version: str = "1"
    weights: str = "teacher"
    arch: str = "resnet20"
    taps: list[str] = Field(default=[])
    classes: Annotated[int, Field(ge=2)] | None = None
    idempotent: Annotated[bool, OPERATIONAL] = False
    batch_size: Annotated[Count, OPERATIONAL] = 256
    canary: Annotated[Count, OPERATIONAL] = 8
    max_malformed: Annotated[Share, OPERATIONAL] = 0.02
    max_unknown: Annotated[Share, OPERATIONAL] = 0.1
    max_tokens_per_call: Annotated[Count | None, OPERATIONAL] = None
    patience: Annotated[Positive, OPERATIONAL] = 600.0
    samples: Annotated[Count, LATER] = 1  # answers to each sample
    recheck: Annotated[Recheck, OPERATIONAL] = Recheck()
    unchecked: Annotated[list[Check], OPERATIONAL] = Field(default=[])
    price: Annotated[Price, OPERATIONAL] = Price()
    cap: Annotated[Cap, OPERATIONAL] = Cap()

    families: ClassVar[tuple[str, ...] | None] = None  # of signals that the kind gives; None: known when it is loaded
    free_of_charge: ClassVar[bool] = False  # a network of ours: nobody charges for its answers

    @property
    def offered(self) -> tuple[str, ...] | None:
        """The families of signals that this teacher gives, where its section says so."""
        return self.families

    @property
    def promised_scores(self) -> str:
        """What its logits are: logits or probabilities."""
        return "logits"

    @property
    def partial(self) -> bool:
        """Whether an answer may leave some classes' scores unknown."""
        return False


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


class Formed(TeacherSettings):
    """A teacher whose answers may be of several forms. `scores` is how two of them were once told apart, and may still be."""

    answers: Annotated[Form | None, LATER] = None
    scores: Scores = "logits"

    @property
    def form(self) -> Form:
        """What an answer is."""
        return self.answers or self.scores

    @property
    def promised_scores(self) -> str:
        return "probabilities" if self.form == "top-k" else self.scores

    @property
    def partial(self) -> bool:
        return self.form == "top-k"

    @model_validator(mode="before")
    @classmethod
    def _scores_of_answers(cls, given: Any) -> Any:
        """`answers: probabilities` is `scores: probabilities`: the same teacher, whose answers stay owned."""
        if not isinstance(given, dict) or given.get("answers") is None or "scores" not in given:
            probable = isinstance(given, dict) and given.get("answers") == "probabilities"
            return {**given, "scores": "probabilities"} if probable else given
        if given["answers"] != given["scores"]:
            raise ValueError(
                f"teacher.scores: {given['scores']!r} contradicts teacher.answers: {given['answers']!r}; leave teacher.scores out"
            )
        return given


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


class TableSettings(Formed):
    """Answers that were paid for elsewhere, in a table."""

    kind: Literal["table"] = "table"
    path: Annotated[str | None, OPERATIONAL] = None
    columns: Annotated[AnswerColumns, LATER] = AnswerColumns()

    @property
    def offered(self) -> tuple[str, ...]:
        return ("label",) if self.form == "labels" else ("logits",)

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
    answers: Annotated[Literal["logprobs", "label", "json"] | None, LATER] = None
    tokenizer: Annotated[str | None, OPERATIONAL] = None
    added_tokens: Annotated[Count, OPERATIONAL] = 64
    max_text_tokens: Annotated[Count | None, LATER] = None
    text_cut: Annotated[Literal["end", "middle"], LATER] = "end"

    @property
    def offered(self) -> tuple[str, ...]:
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
