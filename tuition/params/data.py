"""The section `data`: where samples come from, what tables hold, and how they are split."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from tuition.params.bounds import LATER, OPERATIONAL, Place, Section, Seed, Share


def _whole_as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ClassName = Annotated[str, Field(min_length=1), BeforeValidator(_whole_as_text)]  # YAML takes the name 7 for a number


class Additions(Section):
    """Samples that `refresh` took from its inbox, beside those of `data.source`: training samples, all of them."""

    folder: Place
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]  # of their content ids and classes


PLACEHOLDER = r"\{([^{}]*)\}"  # in data.columns.template, a column's name


class Columns(Section):
    """Which columns of a table hold what; null: one of the usual names (`tuition/sources/columns.py`).

    `prompt`: samples are prompts, to which models write texts, and `reference` holds a good one each, where there is one.
    `text`: samples are texts, and this column holds them, or these columns, joined by `template`.
    """

    input: Place | None = None
    label: Place | None = None
    split: Place | None = None
    text: Annotated[Place | Annotated[list[Place], Field(min_length=1)] | None, LATER] = None
    template: Annotated[Place | None, LATER] = None
    prompt: Annotated[Place | None, LATER] = None
    reference: Annotated[Place | None, LATER] = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The columns that make a text; none where samples are images."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text or ())

    @model_validator(mode="after")
    def _one_text(self) -> "Columns":
        if self.text is not None and self.input is not None:
            raise ValueError(
                f"data.columns: found input {self.input!r} and text {self.text!r}; images have the first, texts the second"
            )
        named = re.findall(PLACEHOLDER, self.template or "")
        if self.template is not None and (not named or set(named) != set(self.texts)):
            raise ValueError(
                f"data.columns.template: names {', '.join(map(repr, named)) or 'no column'}, but data.columns.text is {list(self.texts)}; "
                "name each of these once or more, such as '{title}\\n{body}'"
            )
        if len(self.texts) > 1 and self.template is None:
            joined = "\\n".join("{" + name + "}" for name in self.texts)
            raise ValueError(
                f"data.columns.template: found null; the columns {list(self.texts)} need one, such as {joined!r}"
            )
        return self


OF_TEXTS = ("wordnet",)  # sources of texts whose columns nobody need name
OF_RETRIEVAL = ("beir", "wordnet-words")  # sources of documents and queries
OF_LANGUAGE = ("wordnet-definitions",)  # sources of prompts and references; tables with data.columns.prompt are, too
TASKS = ("classification", "retrieval", "generate")


class Data(Section):
    source: str = "mnist5k"
    evaluation: Annotated[Place | None, LATER] = None
    classes: Annotated[list[ClassName] | None, LATER] = None
    columns: Annotated[Columns, LATER] = Columns()
    additions: Additions | None = None
    root: str | None = None
    resize: Annotated[int, Field(ge=8)] | None = None
    channels: Literal[1, 3] | None = None
    val: Share = 0.1
    test: Share = 0.2
    seed: Seed = 0
    max_unreadable: Share = 0.01
    noise: Share = 0.0
    imbalance: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.0
    watch: str = "tuition/files.py"
    watch_evaluation: Annotated[Place, OPERATIONAL] = "tuition/errors.py"  # another one: DVC takes no dependency twice

    @property
    def inputs(self) -> str:
        """What the samples are, as `tuition.inputs.kinds.INPUTS` calls them."""
        of_texts = self.columns.texts or self.source in OF_TEXTS or self.task != "classification"
        return "texts" if of_texts else "images"

    @property
    def task(self) -> str:
        """What students learn to do, one of TASKS: the source says it, or data.columns.prompt."""
        if self.source in OF_LANGUAGE or self.columns.prompt is not None:
            return "generate"
        return "retrieval" if self.source.partition(":")[0] in OF_RETRIEVAL else "classification"

    @field_validator("classes")
    @classmethod
    def _two_or_more(cls, classes: list[str] | None) -> list[str] | None:
        if classes is not None and (len(classes) < 2 or len(set(classes)) < len(classes)):
            raise ValueError(f"data.classes: found {classes}; valid: two or more names, each of them once")
        return classes
