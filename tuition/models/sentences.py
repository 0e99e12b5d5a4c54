"""An encoder of texts, as sentence-transformers opens it from a local folder: texts to a vector each. Nothing is fetched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.models.encoders import first_line, import_library

TOGETHER = 64  # texts in one pass through the network, those of like length together
TRIED = "a"  # a text that an encoder is tried on

Vectors = Callable[[list[str]], np.ndarray]  # texts -> (n, d)


def open_sentences(folder: Path, where: str) -> tuple[int, Vectors]:
    """(dimensions, vectors) of the encoder in `folder`; `where` names the key. Raises UserError where the library cannot open it."""
    import_library("sentence_transformers", where)
    import torch
    from sentence_transformers import SentenceTransformer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
        model.eval()
        dimensions = len(_vectors(model, [TRIED])[0])
    except Exception as error:  # what a folder lacks or holds too much of, the libraries tell in many ways
        raise UserError(f"{where}: sentence-transformers cannot open it ({first_line(error)})") from error
    return dimensions, lambda texts: _vectors(model, texts)


def _vectors(model: Any, texts: list[str]) -> np.ndarray:
    return model.encode(texts, batch_size=TOGETHER, show_progress_bar=False, convert_to_numpy=True)
