"""How a long text is cut before a chat model is asked about it: `teacher.max_text_tokens` and `teacher.text_cut`.

With `teacher.tokenizer` its tokens are counted. Without one its bytes are: a token holds at least one, so that no more tokens are sent than
was said. No character is cut in two.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

from tuition.teachers.formats.token_bounds import read_tokenizer

GAP = " […] "  # where the middle was


class LongTexts:
    """Texts of at most `most` tokens (None: any number), longer ones without their `cut`: their end, or their middle."""

    def __init__(self, most: int | None, cut: Literal["end", "middle"], tokenizer: str | None):
        """`tokenizer`: its file. Raises UserError where that cannot be read."""
        self.most, self.cut = most, cut
        self.tokenizer = None if most is None or tokenizer is None else read_tokenizer(tokenizer)

    def options(self) -> dict[str, Any]:
        """What decides the answers; nothing where all of each text is sent."""
        if self.most is None:
            return {}
        by = None if self.tokenizer is None else hashlib.sha256(self.tokenizer.to_str().encode()).hexdigest()
        return {"max_text_tokens": self.most, "text_cut": self.cut, "tokenizer": by}

    def count(self, texts: Sequence[str]) -> int:
        """How many of these are longer than is sent."""
        return sum(self.shortened(text) != text for text in texts) if self.most is not None else 0

    def shortened(self, text: str) -> str:
        """What is sent of a text."""
        if self.most is None:
            return text
        last = self.most // 2 if self.cut == "middle" else 0
        first = self.most - last
        if self.tokenizer is None:
            content = text.encode(errors="surrogatepass")
            if len(content) <= self.most:
                return text
            head, tail = content[:first].decode(errors="ignore"), content[len(content) - last :].decode(errors="ignore")
        else:
            places = self.tokenizer.encode(text, add_special_tokens=False).offsets
            if len(places) <= self.most:
                return text
            # A character of several tokens belongs to each of them: it goes with the first part, or not at all.
            end = places[first - 1][1]
            head, tail = text[:end], text[max(end, places[len(places) - last][0]) :] if last else ""
        return head + GAP + tail if last else head
