"""What sections of `params.yaml` are made of, and those of a teacher's price, bounds, drift check and columns."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuition.ranges import Count, Positive

Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Money = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]
Place = Annotated[str, Field(min_length=1)]  # of a file or folder, or the name of a column


@dataclass(frozen=True)
class Mark:
    """What a field of a section is, beside its type."""

    meaning: str


# A field so marked is no part of what makes two studies two: how a teacher is fed and paid, say, or lists of cells that may grow.
OPERATIONAL = Mark("no part of a study's identity")
# A key that came to be later: where it is not used, a study is the one that it was.
LATER = Mark("no part of a study's identity where it has its default")


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Price(Section):
    """What an answer costs: money a call, and money a million tokens of the question and of the answer."""

    call: Money = 0.0
    input: Money = 0.0
    output: Money = 0.0

    @model_validator(mode="before")
    @classmethod
    def _money_a_call(cls, given: Any) -> Any:
        return {"call": float(given)} if isinstance(given, int | float) and not isinstance(given, bool) else given

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

    @model_validator(mode="before")
    @classmethod
    def _calls_of_a_life(cls, given: Any) -> Any:
        if given is None:
            return {}
        return {"calls": given} if isinstance(given, int) and not isinstance(given, bool) else given


class AnswerColumns(Section):
    """Which columns of a table say whose answer a row is (one of the first four) and what it is; null: the usual names."""

    file: str | None = None  # as data/<split>/files.csv names it
    id: str | None = None  # content id
    row: str | None = None  # of the pool, from 0 on
    text: Annotated[str | None, LATER] = None  # the sample itself, where it is one
    answer: str | None = None  # null: also a column for each class

    @model_validator(mode="after")
    def _one_key(self) -> "AnswerColumns":
        named = [name for name in ("file", "id", "row", "text") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(
                f"teacher.columns: found {' and '.join(named)}; one of file, id, row and text says whose answer a row is"
            )
        return self


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
