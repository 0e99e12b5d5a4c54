"""An encoder of texts in a local folder, as it answers: texts to a vector each. Nothing is fetched.

A folder with weights is opened by sentence-transformers, one with `model.onnx` and no weights by ONNX Runtime (`onnx_encoder.py`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tuition.errors import UserError
from tuition.inputs.texts.encoders import onnx_file, read_encoder
from tuition.models.encoders import first_line, import_library

CHARACTERS = 20_000  # of a text, from its beginning; encoders read a few hundred tokens
TOGETHER = 64  # texts in one pass through the network, those of like length together
TRIED = "a"  # a text that an encoder is tried on


class Sentences(NamedTuple):
    """`vectors(texts)` gives (n, dimensions) numbers; `sha256` of the weights."""

    dimensions: int
    vectors: Callable[[list[str]], np.ndarray]
    sha256: str


def open_sentences(place: str, where: str) -> Sentences:
    """The encoder in the folder `place`; `where` names the key. Raises UserError where it is none."""
    if file := onnx_file(place, where):
        from tuition.models.onnx_encoder import open_onnx

        dimensions, vectors, sha256 = open_onnx(file, where)
    else:
        dimensions, vectors, sha256 = _open_folder(place, where)
    return Sentences(dimensions, lambda texts: vectors([text[:CHARACTERS] for text in texts]), sha256)


def _open_folder(place: str, where: str) -> tuple[int, Callable[[list[str]], np.ndarray], str]:
    folder = read_encoder(place, where)
    import_library("sentence_transformers", where)
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = SentenceTransformer(
            str(folder.path),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        model.eval()
        dimensions = len(_vectors(model, [TRIED])[0])
    except Exception as error:  # what a folder lacks or holds too much of, the libraries tell in many ways
        raise UserError(f"{where}: sentence-transformers cannot open it ({first_line(error)})") from error
    return dimensions, lambda texts: _vectors(model, texts), folder.sha256


def _vectors(model: Any, texts: list[str]) -> np.ndarray:
    return model.encode(texts, batch_size=TOGETHER, show_progress_bar=False, convert_to_numpy=True)
