"""What a student of texts brings along to read them: its vocabulary, which for byte pairs is learnt from the pool."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tuition.inputs.protocol import Reading
from tuition.inputs.texts.tuition_texts import PER_TOKEN

DEFAULTS = {"bpe": (8192, 128), "hashed": (32768, 1024)}  # vocabulary and max_tokens of each kind of tokens
LEARNT = 200_000  # texts that byte pairs are learnt from, at most: taken at even distances
SPECIAL = "[none]"  # takes number 0, which fills up shorter texts


def own(samples: np.ndarray, tokens: str, settings: Reading) -> dict[str, Any]:
    """tokens, vocabulary, max_tokens and, of byte pairs, tokenizer: the JSON of the library's file.

    `tokens`: what the student's architecture reads, bpe or hashed. Byte pairs are those of the pool (N,), the same for the same texts.
    """
    vocabulary, most = DEFAULTS[tokens]
    vocabulary, most = settings.vocabulary or vocabulary, settings.max_tokens or most
    if tokens == "hashed":
        return {"tokens": tokens, "vocabulary": vocabulary, "max_tokens": most}
    tokenizer = _learnt(samples, vocabulary, most)
    return {
        "tokens": tokens,
        "vocabulary": tokenizer.get_vocab_size(),
        "max_tokens": most,
        "tokenizer": tokenizer.to_str(),
    }


def _learnt(samples: np.ndarray, vocabulary: int, most: int) -> Any:
    """Pairs of UTF-8 bytes, in lower case: every character of every script has tokens, so that none is unknown."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])  # type: ignore[assignment]
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        min_frequency=2,
        special_tokens=[SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    every = -(-len(samples) // LEARNT) or 1

    def texts() -> Iterator[str]:
        for text in samples[::every]:
            yield text[: PER_TOKEN * most]

    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer
