"""What a student of texts brings along to read them: its vocabulary, learnt from the pool or taken from the folder of an encoder."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tuition.inputs.protocol import Reading
from tuition.inputs.texts.encoders import EncoderFolder, read_encoder
from tuition.inputs.texts.tuition_texts import PER_TOKEN

DEFAULTS = {"bpe": (8192, 128), "hashed": (32768, 1024)}  # vocabulary and max_tokens of each kind of tokens
OF_ENCODERS = {
    "encoder": "student.arch",
    "pieces": "student.encoder",
}  # kinds that are an encoder's, and the key that names it
MOST = 128  # tokens of a text that they read, where nobody says how many
LEARNT = 200_000  # texts that byte pairs are learnt from, at most: taken at even distances
SPECIAL = "[none]"  # takes number 0, which fills up shorter texts


def own(samples: np.ndarray, tokens: str, settings: Reading) -> dict[str, Any]:
    """tokens, vocabulary, max_tokens and, of byte pairs, tokenizer: the JSON of the library's file.

    `tokens`: what the student's architecture reads. Byte pairs are those of the pool (N,), the same for the same texts; of an encoder's
    tokens `encoder` says which it is. Raises UserError for the folder of an encoder that cannot be used.
    """
    if tokens in OF_ENCODERS:
        return _taken(read_encoder(settings.folder or "", OF_ENCODERS[tokens]), tokens, settings.max_tokens or MOST)
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


def _taken(folder: EncoderFolder, tokens: str, most: int) -> dict[str, Any]:
    """The same of an encoder's tokens; `encoder` has its config where the student is such a network itself."""
    from tokenizers import Tokenizer

    text = folder.tokenizer
    if tokens == "pieces":
        text = json.dumps(json.loads(text) | {"post_processor": None})
    tokenizer: Any = Tokenizer.from_str(text)
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    encoder: dict[str, Any] = {"folder": str(folder.path), "sha256": folder.sha256}
    return {
        "tokens": tokens,
        "vocabulary": 1 + folder.tokens,
        "max_tokens": most,
        "tokenizer": tokenizer.to_str(),
        "encoder": encoder if tokens == "pieces" else {**encoder, "config": folder.config},
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
