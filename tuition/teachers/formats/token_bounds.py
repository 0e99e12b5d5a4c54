"""The most tokens that a call of a chat model may take, told before it is sent: by the model's own tokenizer, or else by bytes."""

from collections.abc import Sequence
from typing import Any

from tuition.errors import UserError
from tuition.params.teacher import OpenAISettings
from tuition.workspace import given, lacking


class TokenBounds:
    """Bounds for questions that go with `schema` ("": none) and are answered with at most `answer` tokens.

    `teacher.tokenizer` counts a question as its model does. Without one, a token holds at least one byte, as those of byte pairs do;
    where `teacher.max_tokens_per_call` is less, that counts. `teacher.added_tokens` are what the server puts around a question.
    """

    def __init__(self, settings: OpenAISettings, schema: str, answer: int):
        """Raises UserError where the file of `teacher.tokenizer` cannot be read."""
        self.tokenizer = None if settings.tokenizer is None else read_tokenizer(settings.tokenizer)
        self.most, self.answer = settings.max_tokens_per_call, answer
        self.beside = settings.added_tokens + sum(self._counts([schema]))

    def of(self, questions: Sequence[str]) -> list[tuple[int, int]]:
        """The most tokens of each question with what goes with it, and of its answer."""
        found = [count + self.beside for count in self._counts(questions)]
        if self.tokenizer is None and self.most is not None:
            found = [min(one, max(0, self.most - self.answer)) for one in found]
        return [(one, self.answer) for one in found]

    def _counts(self, texts: Sequence[str]) -> list[int]:
        if self.tokenizer is None:
            return [len(text.encode(errors="surrogatepass")) for text in texts]
        return [len(one.ids) for one in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def read_tokenizer(name: str) -> Any:
    """The tokenizer in the file `teacher.tokenizer`, which cuts and fills up nothing. Raises UserError where it cannot be read."""
    from tokenizers import Tokenizer

    path = given(name)
    if missing := lacking(path):
        raise UserError(
            f"teacher.tokenizer: {name}: {missing}; expected a tokenizer.json as the library tokenizers writes it"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        first = str(error).partition("\n")[0]
        raise UserError(
            f"teacher.tokenizer: {name}: not a tokenizer.json that the library tokenizers reads ({first})"
        ) from None
    tokenizer.no_truncation()  # a file may cut texts, or make all equally long
    tokenizer.no_padding()
    return tokenizer
