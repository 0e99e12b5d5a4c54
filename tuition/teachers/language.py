"""kind `language`: a language model in a local folder. Its answer to a prompt is a text of its own and its likeliest tokens at each token.

What is shown to it as prompt and text, with `JOINT` between them, it does not write but score. A call is one text written or scored; the
tokens of prompt and text are counted.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tuition.errors import UserError
from tuition.files import file_digest
from tuition.models.causal import Causal, load_causal, states, write
from tuition.models.sequences import JOINT, lay_out
from tuition.params.teacher import LanguageSettings
from tuition.targets.tokens import pack
from tuition.teachers.protocol import Reply
from tuition.teachers.shown import Facts
from tuition.workspace import Model, given

TOGETHER = 64  # texts in one pass


class LanguageTeacher:
    """What it is, is told by the sha256 of its weights and of its tokenizer: asking again is free."""

    idempotent = True
    classes: int | None = None
    signals, families = ("text", "top_values", "top_indices"), ("text", "tops")

    def __init__(self, causal: Causal, settings: LanguageSettings, weights: str):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.sequences = causal.model.to(self.device), causal.sequences
        self.top, self.most = settings.top_k, settings.max_new_tokens
        tokenizer = hashlib.sha256(self.sequences.tokenizer.encode()).hexdigest()
        self.description: dict[str, Any] = {
            "kind": "language",
            "weights": weights,
            "tokenizer": tokenizer,
            "top_k": self.top,
            "max_new_tokens": self.most,
            "version": settings.version,
        }

    def check(self, shown: Sequence[str] | np.ndarray) -> None:
        """Raises UserError where a prompt, or a prompt and the text to be scored, is longer than the context or the answer."""
        prompts, texts = _parted(shown)
        found = self.sequences.prompts(prompts, "data: train")
        for place, (prompt, text) in enumerate(zip(found, self._given(texts), strict=True)):
            if text is not None and (len(text) > self.most or len(prompt) + len(text) > self.sequences.context):
                raise UserError(
                    f"teacher.max_new_tokens: the reference of prompt {place} has {len(text)} tokens behind a prompt of {len(prompt)}, but "
                    f"an answer holds {self.most} and the context {self.sequences.context}; leave it out, or raise teacher.max_new_tokens"
                )

    def answer(self, inputs: np.ndarray, keys: Sequence[str] = ()) -> Reply:
        """Prompts, or prompts and texts, (B,) -> text (B, L), top_values and top_indices (B, L, k)."""
        prompts, given_texts = _parted(inputs)
        asked = self.sequences.prompts(prompts, "prompt")
        texts, values, indices = self._given(given_texts), [], []
        written: list[list[int]] = []
        for start in range(0, len(asked), TOGETHER):
            some, known = asked[start : start + TOGETHER], texts[start : start + TOGETHER]
            unknown = [row for row, text in enumerate(known) if text is None]
            made = dict(zip(unknown, self._write([some[row] for row in unknown]), strict=True)) if unknown else {}
            whole = [made[row] if text is None else text for row, text in enumerate(known)]
            written += whole
            for value, index in self._score(some, whole):
                values.append(value)
                indices.append(index)
        given_tokens = sum(map(len, asked)) + sum(len(text) for text in texts if text is not None)
        made_tokens = sum(len(one) for one, text in zip(written, texts, strict=True) if text is None)
        return Reply(
            pack(written, values, indices, self.most),
            input_tokens=given_tokens,
            output_tokens=made_tokens,
        )

    def constants(self) -> dict[str, np.ndarray]:
        """tokenizer: the library's JSON as bytes, uint8; and the context."""
        return {
            "tokenizer": np.frombuffer(self.sequences.tokenizer.encode(), dtype=np.uint8),
            "context": np.array(self.sequences.context, dtype=np.int32),
        }

    def _given(self, texts: Sequence[str | None]) -> list[list[int] | None]:
        known = iter(self.sequences.texts([text for text in texts if text is not None]))
        return [None if text is None else next(known) for text in texts]

    def _write(self, prompts: list[list[int]]) -> list[list[int]]:
        return write(self.model, prompts, self.most, self.sequences.context)

    @torch.inference_mode()
    def _score(self, prompts: list[list[int]], texts: list[list[int]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each text (l tokens) the k likeliest at each: log-probabilities (l, k) float32 and indices (l, k)."""
        layout = lay_out(prompts, texts, self.sequences.context)
        hidden = states(self.model, layout, self.device)
        head: Any = self.model.lm_head
        found = torch.log_softmax(head(hidden).float(), dim=1).topk(self.top, dim=1)
        values, indices = found.values.cpu().numpy(), found.indices.cpu().numpy()
        return [(values[layout.owner == row], indices[layout.owner == row]) for row in range(len(texts))]


def _parted(shown: Sequence[str] | np.ndarray) -> tuple[list[str], list[str | None]]:
    """Prompts, and the text to be scored behind each, None where it is to be written."""
    parts = [str(one).partition(JOINT) for one in shown]
    return [prompt for prompt, _, _ in parts], [text if joint else None for _, joint, text in parts]


def load_language(settings: LanguageSettings, facts: Facts) -> LanguageTeacher:
    """The teacher of `teacher.weights`. Raises UserError for data of another task, a folder that holds no language model, and more top
    tokens than it knows."""
    if facts.get("task") != "generate":
        raise UserError(
            f"teacher.kind: 'language' writes texts, but the data is of {facts.get('task', 'classification')}"
        )
    folder = given(settings.weights)
    causal = load_causal(folder, "teacher.weights")
    if settings.top_k > causal.sequences.vocabulary:
        raise UserError(
            f"teacher.top_k: found {settings.top_k}, but the model knows {causal.sequences.vocabulary} tokens; valid: 1 to that"
        )
    return LanguageTeacher(causal, settings, file_digest(Model(folder).weights) or "")
