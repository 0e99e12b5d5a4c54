"""Answers of a chat model that are words: a label as plain text, or JSON by a schema that lists the labels.

A text names a label by the rule of `targets/answers.py`. JSON is `{"label": …}`, with `options.scores` also
`"scores": {label: probability}`; a fence of code around it is taken off, as models behind servers that know no schema write one.
Probabilities that a model writes down are rounded: of all labels together they may miss 1 by a tenth, and are divided by their sum.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tuition.errors import UserError
from tuition.targets.answers import Classes, NoAnswer, shares
from tuition.targets.classes import FLOOR
from tuition.teachers.formats.bodies import Malformed, shown

Words = Literal["label", "json"]
ROUNDING = 0.1  # by how much the sum of the probabilities that a model writes down may miss 1
TOKENS = {"label": 64, "json": 128}  # of an answer, where params.yaml says nothing
TOKENS_OF_SCORE = 24
_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


class WordReader:
    """What is asked for and how it is read: `answers` label or json, the latter perhaps with `scores`."""

    def __init__(self, answers: Words, scores: bool, labels: Sequence[str]):
        """Raises UserError for labels of which two are the same."""
        self.answers, self.scores, self.labels = answers, scores, list(labels)
        self.classes = Classes(labels)
        for label in labels:
            try:
                self.classes.index(label)
            except NoAnswer as error:
                raise UserError(f"teacher.options.labels: {error}") from None
        if len({label.strip() for label in labels}) < len(labels):
            raise UserError(f"teacher.options.labels: found two that are the same among {labels!r}")
        self.signals = ("label", "logits") if scores else ("label",)

    @property
    def tokens(self) -> int:
        return TOKENS[self.answers] + TOKENS_OF_SCORE * len(self.labels) * self.scores

    def question(self) -> dict[str, Any]:
        """The fields of the request that ask for such an answer."""
        if self.answers == "label":
            return {}
        properties: dict[str, Any] = {"label": {"type": "string", "enum": self.labels}}
        if self.scores:
            each = {label: {"type": "number"} for label in self.labels}
            properties["scores"] = _object(each)
        schema = {"name": "answer", "strict": True, "schema": _object(properties)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}

    def read(self, choice: dict[str, Any]) -> dict[str, np.ndarray]:
        """{label: (1,), logits: (1, classes)} of the choice of an answer. Raises Malformed, naming what was said."""
        text = _text(choice)
        if choice.get("finish_reason") == "length":
            raise Malformed(
                f"cut off at its longest: {shown(text)}; raise teacher.options.max_tokens (or max_completion_tokens)"
            )
        try:
            return self._read(text)
        except NoAnswer as error:
            raise Malformed(f"{error} (teacher.answers: {self.answers})") from None

    def _read(self, text: str) -> dict[str, np.ndarray]:
        if self.answers == "label":
            return {"label": np.array([self.classes.index(text)])}
        said = _json(text)
        if not isinstance(said.get("label"), str):
            raise NoAnswer(f"no label in {shown(text)}")
        label = self.classes.index(said["label"])
        found = {"label": np.array([label])}
        if not self.scores:
            return found
        given = said.get("scores")
        if not isinstance(given, dict):
            raise NoAnswer(f"no scores in {shown(text)}")
        of_class = shares(given, self.classes, ROUNDING)
        highest = max(of_class, key=lambda place: of_class[place])
        if of_class.get(label, 0.0) < of_class[highest]:
            raise NoAnswer(
                f"it says {self.labels[label]!r}, but {self.labels[highest]!r} has the highest score: {shown(text)}"
            )
        total = sum(of_class.values())
        total = total if total > 1 or len(of_class) == len(self.classes) else 1.0
        logits = np.full((1, len(self.classes)), np.nan, dtype=np.float32)
        for place, share in of_class.items():
            logits[0, place] = math.log(max(share / total, FLOOR))
        return {**found, "logits": logits}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _text(choice: dict[str, Any]) -> str:
    """The words of a choice: its content, or the parts of it that are text."""
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        content = "".join(str(one.get("text") or "") for one in content if isinstance(one, dict))
    if not isinstance(content, str) or not content.strip():
        raise Malformed(
            f"no words in the answer {shown(message)}: see teacher.options.max_tokens and teacher.options.extra (a model that thinks first "
            "may have used all of them)"
        )
    return content


def _json(text: str) -> dict[str, Any]:
    fenced = _FENCED.fullmatch(text.strip())
    try:
        said = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        raise NoAnswer(f"{shown(text)} is no JSON") from None
    if not isinstance(said, dict):
        raise NoAnswer(f"{shown(text)} is no JSON object")
    return said
