"""What sections of `params.yaml` are made of, and those of a teacher's price, bounds and drift check."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tuition.ranges import Count, Positive

Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Money = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0)]


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
