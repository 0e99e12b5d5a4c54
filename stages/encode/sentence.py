"""`sentence:<folder>`: the vector that an encoder of texts gives, from a local folder. Nothing is fetched.

A folder with weights is opened by sentence-transformers, one with `model.onnx` and no weights by ONNX Runtime (`onnx_encoder.py`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from stages.encode.encoding import Encoder, Pools
from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.inputs.texts.encoders import onnx_file, read_encoder
from tuition.models.encoders import first_line, import_library

Vectors = Callable[[list[str]], np.ndarray]  # texts -> (n, d)

CHARACTERS = 20_000  # of a text, from its beginning; encoders read a few hundred tokens
TOGETHER = 64  # texts in one pass through the network, those of like length together
TRIED = "a"  # a text that an encoder is tried on


def open_sentence(source: str, facts: dict[str, Any], pools: Pools) -> Encoder:
    """The encoder in the folder that `source` names. Raises UserError for samples that are no texts and for a folder that is none."""
    where, place = f"encode.source: {source}", source.partition(":")[2]
    inputs = inputs_of(facts)
    if inputs.NAME != "texts":
        raise UserError(f"encode.source: {source!r} reads texts, but the samples of this study are {inputs.NAME}")
    if file := onnx_file(place, where):
        from stages.encode.onnx_encoder import open_onnx

        dimensions, vectors, sha256 = open_onnx(file, where)
    else:
        dimensions, vectors, sha256 = _open_folder(place, where)

    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        return vectors([text[:CHARACTERS] for text in pools[split][rows]])

    return Encoder(source, dimensions, encode, sha256)


def _open_folder(place: str, where: str) -> tuple[int, Vectors, str]:
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
