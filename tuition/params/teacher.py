"""Types that sections of `params.yaml` are made of, and the largest of them: the teacher, what it costs and what it may cost."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0)]
Money = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]

KINDS = ("checkpoint", "python", "experts", "mlflow", "oip", "openai", "http")
REMOTE = ("mlflow", "oip", "openai", "http")  # kinds that are asked over HTTP


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Price(Section):
    """What an answer costs: money a call, and money a million tokens of the question and of the answer."""

    call: Money = 0.0
    input: Money = 0.0
    output: Money = 0.0

    @property
    def of_tokens(self) -> bool:
        return self.input > 0 or self.output > 0


class Amounts(Section):
    """An upper bound on calls, tokens and money; null: none."""

    calls: Whole | None = None
    tokens: Whole | None = None
    money: Money | None = None


class Period(Amounts):
    every: Literal["day", "week", "month"] = "day"  # of the UTC calendar; weeks begin on Monday


class Cap(Amounts):
    """Bounds of the teacher's whole life, of one run of teach, and of a period."""

    run: Amounts = Amounts()
    period: Period = Period()


class Recheck(Section):
    """Asking the first samples again, every so many calls of a budget: has the teacher changed?"""

    every: Annotated[int, Field(ge=2)] | None = None  # null: never
    samples: Count = 4
    tolerance: Positive = 0.01  # largest change of a probability

    @model_validator(mode="after")
    def _asks_fewer_than_it_buys(self) -> "Recheck":
        if self.every is not None and self.samples >= self.every:
            raise ValueError(
                f"teacher.recheck.samples: {self.samples} of every {self.every} calls; valid: fewer than teacher.recheck.every"
            )
        return self


class Network(Section):
    arch: str
    weights: str


class Teacher(Section):
    kind: str = "checkpoint"  # one of KINDS, or a class of the user's own: module:Class
    name: str = "teacher"
    version: str = "1"
    weights: str = "teacher"
    arch: str = "resnet20"
    signals: Annotated[list[str], Field(min_length=1)] = ["logits", "embedding"]
    taps: list[str] = []
    experts: list[Network] = []
    free: Network | None = None
    choose: Literal["difficulty", "anti", "random", "mean"] = "difficulty"
    function: str | None = None
    idempotent: bool = False
    url: str | None = None
    model: str | None = None
    format: str | None = None
    options: dict[str, Any] = {}
    scores: Literal["logits", "probabilities"] = "logits"
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    max_in_flight: Count = 8
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    max_tokens_per_call: Count | None = None
    timeout: Positive = 60.0
    patience: Positive = 600.0
    mean: list[float] | None = None
    std: list[Positive] | None = None
    resize: Annotated[int, Field(ge=8)] | None = None
    classes: Annotated[int, Field(ge=2)] | None = None
    batch_size: Count = 256
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    canary: Count = 8
    max_malformed: Share = 0.02
    recheck: Recheck = Recheck()
    price: Price = Price()
    cap: Cap = Cap()

    @field_validator("kind")
    @classmethod
    def _known_or_a_class(cls, kind: str) -> str:
        if kind not in KINDS and not re.fullmatch(r"[\w.]+:\w+", kind):
            raise ValueError(
                f"teacher.kind: found {kind!r}; valid: {', '.join(KINDS)}, or a class of yours: module:Class"
            )
        return kind

    @field_validator("price", mode="before")
    @classmethod
    def _money_a_call(cls, given: Any) -> Any:
        return {"call": float(given)} if isinstance(given, int | float) and not isinstance(given, bool) else given

    @field_validator("cap", mode="before")
    @classmethod
    def _calls_of_a_life(cls, given: Any) -> Any:
        if given is None:
            return {}
        return {"calls": given} if isinstance(given, int) and not isinstance(given, bool) else given

    @model_validator(mode="after")
    def _whole(self) -> "Teacher":
        if self.kind == "python" and (self.function is None or self.function.count(":") != 1):
            raise ValueError(f"teacher.function: found {self.function!r}; kind 'python' needs 'module:function'")
        if self.kind == "experts" and (len(self.experts) < 2 or self.free is None):
            raise ValueError(
                f"teacher.experts: found {len(self.experts)} and teacher.free: {'none' if self.free is None else 'one'}; kind 'experts' "
                "needs two or more {arch, weights}, small to large, and a free network {arch, weights}"
            )
        if self.kind in REMOTE and not re.match(r"https?://[^/\s]+", self.url or ""):
            raise ValueError(f"teacher.url: found {self.url!r}; kind {self.kind!r} needs http://host:port or https://…")
        return self
