"""kind `openai`: chat completions in OpenAI's format, as OpenAI, vLLM, SGLang, llama.cpp and many others speak them.

`teacher.url` is the address up to and with `/v1`, `teacher.model` the model's name there; an image or a text is a question
(`batch_size: 1`).
The model is asked for one label. `teacher.answers` says what is read of its answer:

- `logprobs` (default): the classes' scores, from the log-probabilities of the first token it would answer with (`labels.py` says how);
  a server that gives no `top_logprobs` cannot be used so;
- `label`: the label, as plain text; `json`: the label in JSON, by a schema (`response_format`); `words.py` says how.

Options (`teacher.options`):

- `labels`: one a class, default the class names; with other labels the prompt says which is which. Of `logprobs` no label may begin
  another;
- `scores: true`, with `answers: json`: the model is to write down a probability for each label, too;
- `prompt`: what is asked; `{labels}` in it becomes the list of labels, and `{text}` the text, which otherwise stands behind the prompt;
- `detail`: low, high or auto, of the image, where the server knows it;
- `content: text` with `text: "module:function"`: a function of yours that makes text of one image (C, H, W) uint8, sent instead of it;
- `max_tokens` (1; of words 64 or more), or `max_completion_tokens`, which newer models want in its place; `top_logprobs` (20), where
  the server allows fewer;
- `extra`: further fields of the request, such as `{seed: 0}` or `{chat_template_kwargs: {enable_thinking: false}}`; `{temperature: 1.0}`
  in place of 0, which `teacher.samples` needs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.identity import identity
from tuition.imports import import_function
from tuition.inputs.kinds import inputs_of
from tuition.params.teacher import OpenAISettings
from tuition.teachers.formats.bodies import Malformed, shown
from tuition.teachers.formats.chunks import completion
from tuition.teachers.formats.labels import LEAST_SHARE, bare, check_labels, class_scores
from tuition.teachers.formats.long_texts import LongTexts
from tuition.teachers.formats.models import OpenAIServer
from tuition.teachers.formats.openai_options import Options, check_settings
from tuition.teachers.formats.options import parse_options
from tuition.teachers.formats.token_bounds import TokenBounds
from tuition.teachers.formats.usage import token_counts
from tuition.teachers.formats.words import WordReader, Words
from tuition.teachers.http.format import HttpRequest
from tuition.teachers.protocol import Reply

TEXT = "{text}"  # where a text stands in the prompt


class OpenAIFormat(OpenAIServer):
    """How a chat model is asked for a class, and its answer read."""

    def __init__(self, settings: OpenAISettings, data: dict[str, Any]):
        """Raises UserError for what a chat model cannot be asked, unknown options, and labels that a token cannot tell apart."""
        self.settings, self.chosen, self.inputs = settings, parse_options(Options, settings), inputs_of(data)
        self.answers: Words | None = settings.answers if settings.answers in ("label", "json") else None
        check_settings(settings, self.chosen, data)
        names = [str(name) for name in data["classes"]]
        self.labels = self.chosen.labels or names
        check_labels(self.labels, names, by_beginning=not self.answers)
        self.words = WordReader(self.answers, self.chosen.scores, self.labels) if self.answers else None
        self.signals = self.words.signals if self.words else ("logits",)
        what = "text" if self.inputs.NAME == "texts" else self.chosen.content
        self.prompt = (self.chosen.prompt or _prompt(what)).replace("{labels}", _listed(self.labels, names))
        self.least_share = 0.0 if "mass" in settings.unchecked else LEAST_SHARE
        self.as_text = import_function("teacher.options.text", self.chosen.text) if self.chosen.text else None
        longest, most = self.chosen.max_completion_tokens, self.words.tokens if self.words else 1
        self.limit = {"max_completion_tokens": longest} if longest else {"max_tokens": self.chosen.max_tokens or most}
        self.counts_tokens = self.inputs.NAME == "texts"  # what an image takes, each server says in its own way
        schema = json.dumps(self.words.question()) if self.words else ""
        self.bounds = TokenBounds(settings, schema, *self.limit.values()) if self.counts_tokens else None
        self.long_texts = LongTexts(settings.max_text_tokens, settings.text_cut, settings.tokenizer)

    def options(self) -> dict[str, Any]:
        """What decides the answers; of a function that makes text, its name (as of kind `python`)."""
        left_out = {
            "prompt",
            "labels",
            "max_tokens",
            "max_completion_tokens",
            "top_logprobs" if self.words else "scores",
        }
        if self.inputs.NAME == "texts":
            left_out |= {"content", "text", "detail"}
        if self.chosen.send == "png":  # as when there was no other way: what was bought so stays owned
            left_out.add("send")
        chosen = self.chosen.model_dump(exclude=left_out) | ({"answers": self.answers} if self.answers else {})
        whole = {**chosen, **self.limit, "labels": list(self.labels), "prompt": self.prompt}
        return whole | self.long_texts.options()

    def shortened(self, inputs: np.ndarray) -> int:
        """How many of texts (B,) are not sent whole."""
        return self.long_texts.count(inputs.tolist())

    def most_tokens(self, inputs: np.ndarray) -> list[tuple[int, int]]:
        """Of texts (B,), the most tokens of the question on each, and of its answer."""
        assert self.bounds is not None
        return self.bounds.of([self._whole(text) for text in inputs])

    def request(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        """The question on one sample (1, …) as it is stored, or (1,) the bytes of its file."""
        if len(inputs) != 1:
            raise ValueError(f"a chat model is asked for one sample at a time, not {len(inputs)}")
        question = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": self._content(inputs)}],
            "temperature": 0,
            **(self.words.question() if self.words else {"logprobs": True, "top_logprobs": self.chosen.top_logprobs}),
            **self.limit,
            **self.chosen.extra,
        }
        return HttpRequest("/chat/completions", json.dumps(question).encode(), {"Content-Type": "application/json"})

    def parsed(self, body: bytes) -> dict[str, Any]:
        return completion(body)

    def read(self, body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> Reply:
        """The log-probabilities (1, classes) of an answer as logits, or what its words say, the tokens that it cost, and the
        model that it names."""
        about: dict[str, Any] = {}
        spoilt = False
        try:
            answer = completion(body)
            about = _about(answer, "bill" not in self.settings.unchecked)
            choice = _choice(answer)
            if self.words:
                return Reply(self.words.read(choice), **about)
            scores = class_scores(_top(choice), self.labels, self.least_share)[None].astype(np.float32)
            return Reply({"logits": scores}, **about)
        except Malformed as error:
            why, spoilt = str(error), error.spoilt
        except Exception as error:  # a server may send anything
            why = f"not a chat completion: {type(error).__name__}: {error}"
        return Reply(malformed=why, spoilt=spoilt, raw=body, **about)

    def _content(self, samples: np.ndarray) -> str | list[dict[str, Any]]:
        """The message: the prompt and the sample (or its text)."""
        if self.as_text is not None:
            text = self.as_text(samples[0])
            if not isinstance(text, str):
                raise UserError(
                    f"teacher.options.text: {self.chosen.text} returned {type(text).__name__}, expected text"
                )
            return f"{self.prompt}\n\n{text}"
        shown_sample = self.inputs.chat_part(samples[0], self.settings, self.chosen.detail)
        if shown_sample["type"] == "text":
            return self._whole(shown_sample["text"])
        return [{"type": "text", "text": self.prompt}, shown_sample]

    def _whole(self, text: str) -> str:
        """The message about a text, or about what is sent of it."""
        whole = self.prompt if TEXT in self.prompt else f"{self.prompt}\n\n{TEXT}"
        return whole.replace(TEXT, self.long_texts.shortened(text))


def _prompt(content: str) -> str:
    return (
        f"Which of these classes does the {content} belong to? Answer with exactly one label from this list, spelled as it is there, and "
        "nothing else: {labels}"
    )


def _listed(labels: Sequence[str], names: Sequence[str]) -> str:
    """The labels for the prompt, each with its class where the label is not the class's name."""
    return ", ".join(label if label == name else f"{label} ({name})" for label, name in zip(labels, names, strict=True))


def _about(answer: dict[str, Any], whole: bool) -> dict[str, Any]:
    """What an answer says beside its choices: fields of a Reply."""
    asked, said, beyond = token_counts(answer.get("usage"), whole)
    who = identity(answer.get("model"), backend=answer.get("system_fingerprint"))
    return {"input_tokens": asked, "output_tokens": said, "unlisted_tokens": beyond, "identity": who}


def _choice(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer's first choice. Raises Malformed where there is none, or it was refused or cut off by a filter."""
    if answer.get("error") is not None:
        raise Malformed(f"the server says: {shown(answer['error'])}")
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Malformed(f"no choices: {shown(answer)}")
    choice = next((one for one in choices if isinstance(one, dict) and one.get("index") == 0), choices[0])
    message = choice.get("message")
    if isinstance(message, dict) and message.get("refusal"):
        raise Malformed(f"the model refused: {shown(message['refusal'])}: see teacher.options.prompt")
    if choice.get("finish_reason") == "content_filter":
        raise Malformed("the provider's content filter cut the answer off")
    return choice


def _top(choice: dict[str, Any]) -> list[tuple[str, float]]:
    """The most probable tokens at the first place of the answer that is not blank, with their log-probabilities."""
    content = (choice.get("logprobs") or {}).get("content")
    if not content:
        message = choice.get("message")
        said = message.get("content") if isinstance(message, dict) else None
        raise Malformed(
            f"no logprobs beside the answer {shown(said)}: this server or model gives none (teacher.model; set teacher.answers: "
            "label or json), or the answer is empty (teacher.options.max_tokens, teacher.options.extra)"
        )
    place = next((one for one in content if bare(str(one["token"])).strip()), content[0])
    named = [_token(one) for one in place.get("top_logprobs") or []]
    if not named:
        raise Malformed(
            "no top_logprobs beside the answer: this server gives only the chosen token's (see teacher.options.top_logprobs)"
        )
    chosen = _token(place)
    return named if chosen[0] in {token for token, _ in named} else [chosen, *named]


def _token(one: dict[str, Any]) -> tuple[str, float]:
    token, logprob = one.get("token"), one.get("logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
        raise Malformed(f"a token without a log-probability: {shown(one)}")
    if not logprob <= 1e-3:  # also of NaN
        raise Malformed(f"a log-probability of {logprob}")
    return token, min(float(logprob), 0.0) if not math.isinf(logprob) else -1e4
