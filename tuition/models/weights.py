"""Weights from files that someone else may have written: nothing in them is executed, and all of it must fit.

What a file of the wrong architecture, a damaged file or one with code in it leads to is one UserError that says so.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.files import read_json, stand_in
from tuition.models import make, projected
from tuition.models.description import ModelDescription, NetworkDescription
from tuition.models.network import Network
from tuition.workspace import Model

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
WRAPPERS = ("state_dict", "model_state_dict", "model")  # keys under which training scripts keep the weights
PREFIXES = (
    "module.",
    "model.",
)  # torch's parallel wrappers and averages; Lightning's modules and other classes around a network
COMPILED = "_orig_mod."  # torch.compile's, before every key or before those of a part
OF_AVERAGE = "n_averaged"  # torch's AveragedModel keeps it beside the weights
SHOWN = 4  # keys named in an error
STUDENT_KEYS = ("arch", "classes")
FURTHER_KEYS = {  # by what a student takes
    "images": ("channels", "height", "width"),
    "texts": ("tokens", "vocabulary", "max_tokens"),
}

# Kinds of tokens that come from a tokenizer's file, and what its number 0 is called: of encoders 0 is a token, and here none.
FIRST_TOKEN = {"bpe": 0, "encoder": 1, "pieces": 1}


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill `model` (as made by `build`) with the weights in `path`.

    `.safetensors`, or `.pt`, `.pth`, `.bin` as torch.save writes them: a state dict, bare or under "state_dict", "model_state_dict" or
    "model", its keys with or without "module.", "model." and "_orig_mod." before them. Raises UserError for a missing or damaged file
    or what stands in for one (`files.stand_in`), one that holds anything but tensors, keys or shapes that do not fit the architecture,
    and weights that are not finite.
    """
    found = read_state(path)
    expected = model.state_dict()
    if not set(expected) <= set(found) and hasattr(model, "own_key"):
        found = {own: tensor for key, tensor in found.items() if (own := model.own_key(key)) is not None}  # type: ignore[operator]
    for key in expected:  # a counter that old files lack and that evaluation does not read
        if key.endswith("num_batches_tracked"):
            found.setdefault(key, expected[key])
    _check_fit(found, expected, path, str(getattr(model, "arch", type(model).__name__)))
    broken = [key for key, tensor in found.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise UserError(f"{path}: weights are not finite (NaN or infinity) in {_some(broken)}")
    model.load_state_dict(found)


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict in `path`, without running anything that is in it. Raises UserError as `load_weights` does."""
    return _strip(_unwrap(_read(path), path), path)


def load_student(folder: Path) -> tuple[Network, ModelDescription]:
    """The student in `folder` in eval mode, and what `student.json` says of it.

    Where that has `"projector": {"width": …}`, the student is a `projected.Projected` of that width.
    Raises UserError where a file is missing, damaged or does not fit the other.
    """
    path = Model(folder).description
    student = read_json(path)
    kind = student.get("inputs", "images") if isinstance(student, dict) else "images"
    needed = sorted((*STUDENT_KEYS, *FURTHER_KEYS.get(kind, ())))
    missing = [key for key in needed if not isinstance(student, dict) or key not in student]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; delete it and run `dvc repro`")
    model = make(cast(NetworkDescription, {**student, "taps": []}))
    if student.get("projector") is not None:
        size = (student["height"], student["width"])
        model = projected.wrap(model, width=_width(student["projector"], path), channels=student["channels"], size=size)
    if student.get("tokens") in FIRST_TOKEN:
        most = student["vocabulary"] - FIRST_TOKEN[student["tokens"]]
        student["tokenizer"] = _tokenizer(Model(folder).tokenizer, most)
    load_weights(model, Model(folder).weights)
    model.eval()
    return model, cast(ModelDescription, student)


def _tokenizer(path: Path, vocabulary: int) -> str:
    """The file of a student's tokenizer. Raises UserError where it is missing, damaged or knows another number of tokens."""
    from tokenizers import Tokenizer

    try:
        text = path.read_text(encoding="utf-8")
        found = 1 + max(Tokenizer.from_str(text).get_vocab().values(), default=-1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file, which student.json needs; `dvc repro` makes both") from None
    except Exception as error:  # the library raises its own, of no class
        raise UserError(f"{path}: not a readable tokenizer ({error}); delete it and run `dvc repro`") from None
    if found != vocabulary:
        raise UserError(f"{path}: it knows {found} tokens, but student.json says {vocabulary}; `dvc repro` makes both")
    return text


def no_file(folder: Path) -> UserError:
    """The error for a folder where a file of weights is expected: names those in it."""
    inside = sorted(one.name for one in folder.iterdir() if one.suffix in SUFFIXES)
    hint = f"name one of those in it: {_some(inside)}" if inside else f"none of {', '.join(SUFFIXES)} lies in it"
    return UserError(f"{folder}: a folder, expected a file of weights; {hint}")


def _width(found: object, path: Path) -> int:
    width = found.get("width") if isinstance(found, dict) else None
    if type(width) is not int or width < 1:
        raise UserError(f'{path}: projector: found {found!r}, expected {{"width": a number of channels}}')
    return width


def _read(path: Path) -> object:
    if path.is_dir():
        raise no_file(path)
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: weights are read from {', '.join(SUFFIXES)} files")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if found := stand_in(path):
        raise UserError(f"{path}: not a readable file of weights: found {found}")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable safetensors file, perhaps cut short ({error})") from None


def _read_torch(path: Path) -> object:
    import pickle

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        if "GLOBAL" in text or "Unsupported" in text:  # the restricted reader met something that it would have to call
            raise UserError(
                f"{path}: refused, since it holds code or objects and not only tensors ({_reason(text)}); "
                "save the bare state dict, best as .safetensors"
            ) from None
        raise UserError(f"{path}: not a readable torch file ({_reason(text)})") from None
    except Exception as error:  # a damaged archive fails in many ways, none of which says more than the others
        raise UserError(
            f"{path}: not a readable torch file, perhaps cut short ({type(error).__name__}: {_reason(str(error))})"
        ) from None


def _reason(text: str) -> str:
    """The finding in torch's message; its advice (to load the file unsafely) is not passed on."""
    after = text.split("WeightsUnpickler error:")[-1].strip()
    return re.split(r"\. | was not an allowed|\n", after)[0] or "no reason given"


def _unwrap(content: object, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: found {type(content).__name__}, expected a state dict: names and their tensors")
    strange = [str(key) for key, value in content.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange:
        raise UserError(f"{path}: expected names and their tensors, but {_some(strange)} hold something else")
    return dict(content)


def _strip(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Remove what wrappers put before every key, in whatever order they were put around the network."""
    plain = {key: key.replace(COMPILED, "") for key in state}
    if len(set(plain.values())) < len(plain):
        raise UserError(f"{path}: holds the same weights twice, with and without {COMPILED!r} in their names")
    while prefix := next((one for one in PREFIXES if _all_begin(plain.values(), one)), None):
        plain = {key: name.removeprefix(prefix) for key, name in plain.items() if name != OF_AVERAGE}
    return {name: state[key] for key, name in plain.items()}


def _all_begin(names: Iterable[str], prefix: str) -> bool:
    """Whether there are `names` and all of them begin with `prefix`, but for an average's count."""
    own = [name for name in names if name != OF_AVERAGE]
    return bool(own) and all(name.startswith(prefix) for name in own)


def _check_fit(found: dict[str, Tensor], expected: dict[str, Tensor], path: Path, arch: str) -> None:
    faults = []
    if missing := [key for key in expected if key not in found]:
        faults.append(f"{len(missing)} missing ({_some(missing)})")
    if extra := [key for key in found if key not in expected]:
        faults.append(f"{len(extra)} unexpected ({_some(extra)})")
    shapes = [
        f"{key}: {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected
        if key in found and found[key].shape != expected[key].shape
    ]
    if shapes:
        faults.append(f"{len(shapes)} of another shape ({_some(shapes)})")
    if faults:
        raise UserError(f"{path}: the weights do not fit {arch}: {'; '.join(faults)}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
