"""kind `mlflow`: MLflow's scoring server, as `mlflow models serve` starts it and others imitate it.

`teacher.url` is the server without `/invocations`. Options (`teacher.options`):

- `input: tensor` sends `{"inputs": …}`, the images as nested lists (B, C, H, W); `dataframe` sends `{"dataframe_split": …}`, an image a
  row and a pixel a column, channel by channel and row by row; of texts, a text a row;
- `columns`: the columns' names, a list of C·H·W; without it they are the integers from 0; of texts one, `text`;
- `signals`: what the answer holds, where that is more than logits: a dict with these names is then expected (default: [logits]);
- `labels`: the names of the answer's columns, one for each of the data's classes and in their order (default: the classes' names);
- `probe: false` where the server has neither `/ping` nor `/version` (Databricks has none).

The model's answer may be (B, classes) numbers, or a column for each class: columns that are named as the data's classes, or as
`labels` says, are put into their order, columns 0, 1, … into that of their numbers; others are refused.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.params.bounds import Section
from tuition.params.teacher import ServerSettings
from tuition.targets.classes import as_logits
from tuition.teachers.formats.bodies import Malformed, json_object, shown
from tuition.teachers.formats.options import parse_options
from tuition.teachers.http.format import HttpRequest
from tuition.teachers.protocol import Reply, Stop

JSON = {"Content-Type": "application/json"}


class Options(Section):
    input: Literal["tensor", "dataframe"] = "tensor"
    columns: list[str | int] | None = None
    signals: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]] = Field(default=["logits"], min_length=1)
    labels: list[str | int] | None = None
    probe: bool = True


class MlflowFormat:
    """How MLflow's scoring server is asked and its answer read."""

    def __init__(self, settings: ServerSettings, data: dict[str, Any]):
        """Raises UserError for unknown options, for columns that are not one a pixel, and as the inputs' `check_sent` does."""
        self.settings, self.chosen = settings, parse_options(Options, settings)
        if (settings.url or "").rstrip("/").endswith("/invocations"):
            raise UserError("teacher.url: give the server without /invocations, which is added")
        self.inputs = inputs_of(data)
        self.inputs.check_sent(settings, data)
        self.classes = [str(name) for name in data["classes"]]
        self.labels = [str(name) for name in self.chosen.labels or self.classes]
        if len(set(self.labels)) != len(self.classes):
            found, needed = len(set(self.labels)), len(self.classes)
            raise UserError(
                f"teacher.options.labels: found {found} names, expected one for each of the data's {needed} classes"
            )
        self.signals = tuple(self.chosen.signals)
        count = int(np.prod(self.inputs.shape(self.inputs.as_sent(settings, data))))
        if self.chosen.columns is not None and len(set(self.chosen.columns)) != count:
            raise UserError(
                f"teacher.options.columns: found {len(set(self.chosen.columns))} names, expected {count}: one a text, or a pixel"
            )
        if self.chosen.columns is not None and self.chosen.input == "tensor":
            raise UserError("teacher.options.columns: a tensor has none; set teacher.options.input to dataframe")
        self.columns = self.chosen.columns or (["text"] if self.inputs.NAME == "texts" else list(range(count)))

    def options(self) -> dict[str, Any]:
        given = {"labels": self.labels} if self.chosen.labels else {}
        return {**self.chosen.model_dump(include={"input", "columns"}), **given}

    def request(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        """The question on samples (B, …) as they are stored."""
        values = self.inputs.sent(inputs, self.settings)
        question: dict[str, Any]
        if self.chosen.input == "tensor":
            question = {"inputs": values.tolist()}
        else:
            rows = values.reshape(len(values), -1).tolist()
            question = {"dataframe_split": {"columns": self.columns, "index": list(range(len(rows))), "data": rows}}
        return HttpRequest("/invocations", json.dumps(question, separators=(",", ":")).encode(), JSON)

    def read(self, body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> Reply:
        """The signals of an answer, each (B, …); as many rows as there are keys."""
        try:
            answer = json_object(body)
            if "predictions" not in answer:
                raise Malformed(f'no "predictions": {shown(body)}')
            return Reply(self._signals(answer["predictions"], len(keys)))
        except Malformed as error:
            return Reply(malformed=str(error), spoilt=error.spoilt, raw=body)
        except Exception as error:  # a server may send anything
            return Reply(malformed=f"not an answer of MLflow: {type(error).__name__}: {error}", raw=body)

    def probes(self) -> list[str]:
        return ["/ping", "/version"] if self.chosen.probe else []

    def check(self, path: str, status: int, body: bytes) -> None:
        """Raises Stop where this is no scoring server, or one without a model."""
        hint = "Check host, port and path, or choose another teacher.kind (oip, openai, http); teacher.options.probe: false asks at once"
        if status != 200:
            raise Stop(
                f"teacher.url: its {path} answers {status}, so it is no scoring server of MLflow, or has no model. {hint}"
            )
        if path == "/version" and not re.match(rb'\s*"?\d+\.\d+', body):
            raise Stop(
                f"teacher.kind: mlflow, but {path} of teacher.url gives no version of MLflow: {shown(body)}. {hint}"
            )

    def _signals(self, predictions: object, count: int) -> dict[str, np.ndarray]:
        if not isinstance(predictions, dict):
            if self.signals != ("logits",):
                raise Malformed(f"predictions without names; teacher.options.signals expects {', '.join(self.signals)}")
            return {"logits": as_logits(self._scores(predictions, count), self.settings.scores)}
        if self.signals == ("logits",) and len(predictions) == 1:  # one output, whatever it is called
            predictions = {"logits": next(iter(predictions.values()))}
        missing = [name for name in self.signals if name not in predictions]
        if missing:
            found = ", ".join(map(repr, predictions))
            raise Malformed(f"no {', '.join(missing)} in the predictions, only {found}; see teacher.options.signals")
        return {name: self._signal(name, predictions[name], count) for name in self.signals}

    def _signal(self, name: str, values: object, count: int) -> np.ndarray:
        return (
            as_logits(self._scores(values, count), self.settings.scores) if name == "logits" else numbers(values, count)
        )

    def _scores(self, rows: object, count: int) -> np.ndarray:
        """(B, classes) of a list of lists, or of a list of dicts with a column for each class."""
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            names = list(rows[0])
            if any(set(row) != set(names) for row in rows):
                raise Malformed("rows with different columns")
            rows = [[row[name] for name in self._ordered(names)] for row in rows]
        values = numbers(rows, count)
        if values.ndim != 2:
            raise Malformed(
                f"found shape {list(values.shape)}, expected a score for each class; a model that answers with classes "
                "has to be logged with its scores (`pyfunc_predict_fn='predict_proba'` of scikit-learn's)"
            )
        return values

    def _ordered(self, names: list[str]) -> list[str]:
        """The columns in the order of the data's classes. Raises Malformed where their names do not say which is which."""
        numbered = [str(place) for place in range(len(names))]
        if set(self.labels) <= set(names):
            return self.labels  # what else is there, such as the answer's own choice, is no score
        if set(names) == set(numbered):
            return numbered
        raise Malformed(
            f"columns {shown(', '.join(names))}: they are not the data's classes {shown(', '.join(self.labels))}, so that their order is "
            "not known; set teacher.options.labels to the columns' names, one a class in the order of the data's classes"
        )


def numbers(values: object, count: int) -> np.ndarray:
    """values (count, …) float32. Raises Malformed where they are ragged, no numbers, or of another count."""
    try:
        given = np.asarray(values)
    except ValueError:
        raise Malformed(f"rows of different lengths: {shown(values)}") from None
    if given.dtype.kind not in "iuf":
        raise Malformed(f"not numbers: {shown(values)}")
    if given.ndim < 1 or len(given) != count:
        raise Malformed(f"found {len(given) if given.ndim else 0} rows, asked for {count}")
    return given.astype(np.float32)
