"""An encoder of texts in ONNX's format, for inference alone: a quarter of the size where its weights are of 8 bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.models.encoders import first_line, import_library

CONFIG, TOKENIZER = "config.json", "tokenizer.json"  # in messages
MOST = 256  # tokens that are read of a text
TOGETHER = 64  # texts in one pass
TAKEN = ("input_ids", "attention_mask", "token_type_ids")  # inputs that are given what they want


def open_onnx(
    file: Path, where: str, tokenizer_json: str, known: int, config: dict[str, Any]
) -> tuple[int, Callable[[list[str]], np.ndarray]]:
    """(dimensions, texts -> vectors (n, d) of length 1). `tokenizer_json`: the text of its tokenizer's file, which has `known` tokens;
    `config` of its network, {} where there is none.

    The network gives a vector a text (B, d), or one a token (B, L, d), of which the mean is taken. Raises UserError where it gives neither,
    takes other inputs, or does not know a token of its tokenizer.
    """
    import_library("onnxruntime", where, extra="onnx")
    from tokenizers import Tokenizer

    tokenizer: Any = Tokenizer.from_str(tokenizer_json)
    # The shortest of what the tokenizer's file says, what the network has places for, and MOST.
    limits = (MOST, (tokenizer.truncation or {}).get("max_length"), config.get("max_position_embeddings"))
    most = min(one for one in limits if isinstance(one, int))
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    answer = _network(file, where)

    def vectors(texts: list[str]) -> np.ndarray:
        tokens = [one.ids or [0] for one in tokenizer.encode_batch(texts)]
        order = np.argsort([len(one) for one in tokens], kind="stable")  # those of like length together
        parts = [order[start : start + TOGETHER] for start in range(0, len(order), TOGETHER)]
        found = np.concatenate([answer(*_padded([tokens[row] for row in part])) for part in parts])
        return found[np.argsort(order)]

    _try(answer, known, 1, f"{where}: {file}", f"{TOKENIZER} may be another model's")
    needs = f"{TOKENIZER} may say less (truncation), or {CONFIG} beside it (max_position_embeddings)"
    return _try(answer, known, most, f"{where}: {file}", needs), vectors


Answer = Callable[[np.ndarray, np.ndarray], np.ndarray]  # tokens (B, L) and which are some -> vectors (B, d)


def _network(file: Path, where: str) -> Answer:
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(f"{where}: {file}: not a network that ONNX Runtime can read ({first_line(error)})") from None
    names = [one.name for one in session.get_inputs()]
    if unknown := [name for name in names if name not in TAKEN]:
        raise UserError(f"{where}: {file}: it takes {', '.join(unknown)}; valid inputs: {', '.join(TAKEN)}")

    def answer(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
        given = dict(zip(TAKEN, (ids, known, np.zeros_like(ids)), strict=True))
        found = session.run(None, {name: given[name] for name in names})[0]
        if found.ndim == 3:
            found = (found * known[..., None]).sum(axis=1) / known.sum(axis=1, keepdims=True)
        return found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), 1e-12)

    return answer


def _try(answer: Answer, tokens: int, length: int, what: str, hint: str) -> int:
    """The length of a vector. Raises UserError where the network does not answer so long a text of the last of its `tokens`."""
    ids = np.full((1, length), tokens - 1)
    try:
        found = answer(ids, np.ones_like(ids))
    except Exception as error:  # of ONNX Runtime's own classes
        raise UserError(
            f"{what} does not answer a text of {length} times the last of its tokenizer's {tokens} tokens ({first_line(error)}); {hint}"
        ) from None
    if found.ndim != 2:
        raise UserError(f"{what}: its first output has {found.ndim} axes; valid: (B, d) or (B, L, d)")
    return found.shape[1]


def _padded(tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (B, longest) int64, and 1 where there is one."""
    lengths = np.array([len(one) for one in tokens])
    known = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    ids = np.zeros_like(known)
    ids[known > 0] = [token for one in tokens for token in one]
    return ids, known
