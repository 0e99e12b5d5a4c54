"""Prompts and texts as tokens, for language models: a prompt, then `TEXT`, the text, and `END` behind it.

Tokens are pairs of UTF-8 bytes, learnt from texts. What looks like a special token in a text is read as the characters that it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from tuition.errors import UserError

PAD, TEXT, END = range(3)
SPECIAL = ("<|pad|>", "<|text|>", "<|end|>")  # in the order of their numbers
JOINT = "\x1e"  # between a prompt and a text that a teacher is to score: no text may hold it


class Layout(NamedTuple):
    """B sequences as a network takes them: tokens (B, T) int64, `PAD` behind shorter ones; for each of N tokens of all texts `targets` (N,)
    int64, its row `owner` (N,) int64, its number in its text `number` (N,) int64, and `places` (N,) int64: the position in the flattened
    (B · T) before it, whose state tells it."""

    tokens: np.ndarray
    places: np.ndarray
    targets: np.ndarray
    owner: np.ndarray
    number: np.ndarray


@dataclass(frozen=True)
class Sequences:
    """`tokenizer`: the library's JSON; `context`: tokens of a prompt, a text and the special ones between and behind them."""

    tokenizer: str
    context: int

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        made: Any = Tokenizer.from_str(self.tokenizer)
        made.encode_special_tokens = True
        return made

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, the special ones among them."""
        return self._tokenizer.get_vocab_size()

    def prompts(self, texts: Iterable[str], where: str) -> list[list[int]]:
        """The tokens of prompts, `TEXT` behind each. Raises UserError, which begins with `where`, where no token of a text would fit behind
        one."""
        found = [[*ids, TEXT] for ids in self._ids(texts)]
        long = [place for place, ids in enumerate(found) if len(ids) + 1 >= self.context]
        if long:
            raise UserError(
                f"{where}: {len(long)} of {len(found)} prompts leave no room for a text, such as number {long[0]} with "
                f"{len(found[long[0]])} tokens; the context is {self.context} tokens: shorten or leave them out"
            )
        return found

    def texts(self, texts: Iterable[str]) -> list[list[int]]:
        """The tokens of texts, `END` behind each."""
        return [[*ids, END] for ids in self._ids(texts)]

    def text_of(self, ids: Sequence[int]) -> str:
        """The text of tokens, without the special ones."""
        return self._tokenizer.decode([one for one in ids if one > END], skip_special_tokens=False)

    def _ids(self, texts: Iterable[str]) -> list[list[int]]:
        return [one.ids for one in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def learn(texts: Iterable[str], vocabulary: int) -> str:
    """The JSON of a tokenizer of at most so many tokens, learnt from texts; the same for the same texts in the same order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str()


def lay_out(prompts: Sequence[list[int]], texts: Sequence[list[int]], context: int) -> Layout:
    """Sequences for a network; of one that is longer than the context what is behind it is left out."""
    rows = [(prompt + text)[:context] for prompt, text in zip(prompts, texts, strict=True)]
    tokens = np.full((len(rows), max(map(len, rows))), PAD, dtype=np.int64)
    lengths = np.array([len(row) - len(prompt) for row, prompt in zip(rows, prompts, strict=True)])
    starts = np.array([len(prompt) for prompt in prompts])
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    owner = np.repeat(np.arange(len(rows)), lengths)
    number = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    column = starts[owner] + number
    return Layout(tokens, owner * tokens.shape[1] + column - 1, tokens[owner, column], owner, number)
