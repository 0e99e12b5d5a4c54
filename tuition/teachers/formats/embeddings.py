"""kind `openai` with `answers: embedding`: `/embeddings` in OpenAI's format, as OpenAI, vLLM, llama.cpp and many others speak it.

`teacher.url` is the address up to and with `/v1`, `teacher.model` the name of the model. A request holds `teacher.batch_size` texts, each a
call. Options (`teacher.options`): `dimensions`, where the model gives shorter embeddings; `extra`: further fields of the request, such as
`{input_type: document}`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from pydantic import Field

from tuition.errors import UserError
from tuition.identity import identity
from tuition.inputs.kinds import inputs_of
from tuition.params.bounds import Section
from tuition.params.teacher import OpenAISettings
from tuition.ranges import Count
from tuition.targets import embeddings
from tuition.targets.answers import NoAnswer
from tuition.teachers.formats.bodies import Malformed, json_object, shown
from tuition.teachers.formats.models import OpenAIServer
from tuition.teachers.formats.options import parse_options
from tuition.teachers.formats.usage import token_counts
from tuition.teachers.http.format import HttpRequest
from tuition.teachers.protocol import Reply

RESERVED = ("model", "input", "dimensions", "encoding_format")


class EmbeddingOptions(Section):
    dimensions: Count | None = None
    extra: dict[str, Any] = Field(default={})


class EmbeddingsFormat(OpenAIServer):
    """How a server is asked for the embeddings of texts, and its answer read."""

    signals = ("embedding",)

    def __init__(self, settings: OpenAISettings, data: dict[str, Any]):
        """Raises UserError for what such a server cannot be asked, and unknown options."""
        self.settings, self.chosen = settings, parse_options(EmbeddingOptions, settings)
        if not settings.model:
            raise UserError("teacher.model: found none; kind 'openai' needs the model's name on the server")
        if urlsplit(settings.url or "").path.rstrip("/").endswith("/embeddings"):
            raise UserError("teacher.url: it ends in /embeddings; give it up to and with /v1: the rest is added")
        if settings.max_text_tokens is not None:
            raise UserError(
                f"teacher.max_text_tokens: found {settings.max_text_tokens}, but texts that are embedded are sent whole: leave it out"
            )
        if (name := inputs_of(data).NAME) != "texts":
            raise UserError(f"teacher.answers: 'embedding' of kind 'openai' is of texts, but the samples are {name}")
        if reserved := sorted(set(self.chosen.extra) & set(RESERVED)):
            raise UserError(
                f"teacher.options.extra: {', '.join(reserved)}: set by this kind itself or by another option"
            )

    def options(self) -> dict[str, Any]:
        """What decides the answers."""
        return {"answers": "embedding", **self.chosen.model_dump()}

    def request(self, inputs: np.ndarray, keys: Sequence[str]) -> HttpRequest:
        """The question on texts (B,)."""
        question: dict[str, Any] = {"model": self.settings.model, "input": list(inputs), "encoding_format": "float"}
        if self.chosen.dimensions:
            question["dimensions"] = self.chosen.dimensions
        body = json.dumps(question | self.chosen.extra).encode()
        return HttpRequest("/embeddings", body, {"Content-Type": "application/json"})

    def read(self, body: bytes, headers: Mapping[str, str], keys: Sequence[str]) -> Reply:
        """embedding (B, d) by the places that the answer names, the tokens that it cost, and the model that it names."""
        about: dict[str, Any] = {}
        spoilt = False
        try:
            answer = json_object(body)
            asked, said, beyond = token_counts(answer.get("usage"), "bill" not in self.settings.unchecked)
            about = {"input_tokens": asked, "output_tokens": said, "unlisted_tokens": beyond}
            about["identity"] = identity(answer.get("model"), backend=answer.get("system_fingerprint"))
            return Reply({"embedding": embeddings.rows(_placed(answer, len(keys)), len(keys))}, **about)
        except Malformed as error:
            why, spoilt = str(error), error.spoilt
        except NoAnswer as error:
            why = f"embedding: {error}"
        except Exception as error:  # a server may send anything
            why = f"not a list of embeddings: {type(error).__name__}: {error}"
        return Reply(malformed=why, spoilt=spoilt, raw=body, **about)


def _placed(answer: dict[str, Any], count: int) -> list[Any]:
    """The embeddings in the order of the texts: answers name their places. Raises Malformed where one is missing or named twice."""
    data = answer.get("data")
    if answer.get("error") is not None or not isinstance(data, list):
        raise Malformed(f"no embeddings: {shown(answer.get('error') or answer)}")
    found = {one.get("index", place): one.get("embedding") for place, one in enumerate(data)}
    if len(data) != count or set(found) != set(range(count)):
        raise Malformed(f"{len(data)} embeddings with places {sorted(found, key=str)[:8]} for {count} texts")
    return [found[place] for place in range(count)]
