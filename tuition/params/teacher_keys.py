"""What the section `teacher` holds whatever its kind, and what an answer may be."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tuition.params.bounds import LATER, OPERATIONAL, Cap, Price, Recheck, Section, Share
from tuition.ranges import Count, Positive

Check = Literal[  # of `tuition/purchase/plausible/`; `mass` and `bill` of `tuition/teachers/formats/`
    "classes", "labels", "variety", "scale", "repeats", "identity", "mass", "bill", "directions"
]
Side = Annotated[int, Field(ge=8)]  # pixels
Scores = Literal["logits", "probabilities"]
Form = Literal["logits", "probabilities", "labels", "top-k", "embedding"]  # what an answer is


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
