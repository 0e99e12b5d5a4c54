"""What may be asked of a chat model: `teacher.options` of kind `openai`, and settings that do not go with it."""

import json
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from tuition.errors import UserError, unknown
from tuition.inputs.kinds import inputs_of
from tuition.params.bounds import Section
from tuition.params.teacher import Count, OpenAISettings

RESERVED = ("model", "messages", "logprobs", "top_logprobs", "max_tokens", "max_completion_tokens", "n", "stream")
PLACES = ("labels", "text")  # what `{…}` may name in a prompt about texts


class Options(Section):
    labels: list[str] | None = None
    prompt: str | None = None
    content: Literal["image", "text"] = "image"
    text: str | None = None
    detail: Literal["low", "high", "auto"] | None = None
    send: Literal["png", "original"] = "png"
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    top_logprobs: Count = 20
    scores: bool = False
    extra: dict[str, Any] = Field(default={})


def check_settings(settings: OpenAISettings, chosen: Options, data: dict[str, Any]) -> None:
    """Raises UserError naming the key that a chat model cannot be asked with."""
    if not settings.model:
        raise UserError("teacher.model: found none; kind 'openai' needs the model's name on the server")
    if settings.batch_size != 1:
        raise UserError(
            f"teacher.batch_size: found {settings.batch_size}; a chat model is asked for one sample a request: set it to 1"
        )
    if urlsplit(settings.url or "").path.rstrip("/").endswith("/chat/completions"):
        raise UserError("teacher.url: it ends in /chat/completions; give it up to and with /v1: the rest is added")
    if settings.mean is not None or settings.std is not None:
        raise UserError(
            "teacher.mean, teacher.std: a chat model takes pictures, not normalised numbers: leave both out"
        )
    if settings.scores != "logits":
        raise UserError(
            f"teacher.scores: found {settings.scores!r}; kind 'openai' reads log-probabilities: leave it at 'logits'"
        )
    if chosen.scores and settings.answers != "json":
        raise UserError(
            f"teacher.options.scores: true, but teacher.answers is {settings.answers or 'logprobs'}; set `json`, which has them"
        )
    if chosen.send == "original" and (chosen.content == "text" or settings.resize is not None):
        raise UserError(
            "teacher.options.send: original sends files as they are, and goes neither with teacher.resize nor with content 'text'; set png"
        )
    if inputs_of(data).NAME == "texts":
        _check_of_texts(chosen)
    elif chosen.content == "image":
        inputs_of(data).check_chat(data)
    if (chosen.content == "text") != (chosen.text is not None):
        raise UserError(
            "teacher.options.text: content 'text' needs a function 'module:function' that makes text of an image, and it alone"
        )
    if settings.text_cut == "middle" and (settings.max_text_tokens or 0) < 2:
        raise UserError(
            f"teacher.text_cut: found middle with teacher.max_text_tokens: {settings.max_text_tokens or 'null'}; a text keeps its "
            "beginning and its end, of 2 tokens or more: set so many, or leave teacher.text_cut out"
        )
    if chosen.max_tokens and chosen.max_completion_tokens:
        raise UserError("teacher.options: give max_tokens or max_completion_tokens, not both")
    if settings.samples > 1 and (not chosen.extra.get("temperature") or "seed" in chosen.extra):
        raise UserError(
            f"teacher.samples: found {settings.samples}, but a model that is asked at temperature 0, or with a seed, answers the same each "
            "time; set teacher.options.extra: {temperature: 1.0}, without a seed, or teacher.samples: 1"
        )
    try:
        json.dumps(chosen.extra)
    except (TypeError, ValueError) as error:
        raise UserError(f"teacher.options.extra: not JSON: {error}") from None
    if reserved := sorted(set(chosen.extra) & set(RESERVED)):
        raise UserError(f"teacher.options.extra: {', '.join(reserved)}: set by this kind itself or by another option")


def _check_of_texts(chosen: Options) -> None:
    """Raises UserError for an option that is about images, and for a place in the prompt that nothing fills."""
    strange = [name for name in re.findall(r"\{([A-Za-z_]\w*)\}", chosen.prompt or "") if name not in PLACES]
    if strange:
        raise unknown("teacher.options.prompt: the place", f"{{{strange[0]}}}", [f"{{{name}}}" for name in PLACES])
    for key, plain in (("content", "image"), ("text", None), ("detail", None), ("send", "png")):
        if (found := getattr(chosen, key)) != plain:
            raise UserError(
                f"teacher.options.{key}: found {found!r}, but the samples are texts, which are sent as they are: leave it out"
            )
