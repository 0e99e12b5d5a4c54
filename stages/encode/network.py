"""`timm:`, `torchvision:` and `checkpoint`: the pooled embedding of a network, before its classifier.

Nothing is fetched, but where `encode.weights: library` asks for it.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from stages.encode.encoding import Encoder, Pools
from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.models import build, load_weights
from tuition.models.network import Network
from tuition.models.weights import no_file, read_state
from tuition.params import Encode
from tuition.params.teacher import CheckpointSettings, TeacherSettings
from tuition.teachers.checkpoint import load_checkpoint
from tuition.workspace import Model, given

LIBRARY = "library"
COLOURS = 3  # channels that the libraries' networks take
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, where the library names none


def open_checkpoint(teacher: TeacherSettings, facts: dict[str, Any], pools: Pools) -> Encoder:
    """The embedding of the teacher's checkpoint. Raises UserError for a teacher of another kind and as `load_checkpoint` does."""
    if not isinstance(teacher, CheckpointSettings):
        raise UserError(
            f"encode.source: 'checkpoint' reads the network of teacher.kind 'checkpoint', but it is {teacher.kind!r}"
        )
    model = load_checkpoint(teacher.model_copy(update={"signals": ["embedding"]}), facts)

    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        return model.answer(pools[split][rows])["embedding"]

    path = given(teacher.weights)
    return Encoder("checkpoint", _width(model.model), encode, _sha256(Model(path).weights if path.is_dir() else path))


def open_network(settings: Encode, facts: dict[str, Any], pools: Pools) -> Encoder:
    """A network of timm or torchvision. Raises UserError for a name, weights or a size that do not fit."""
    inputs = inputs_of(facts)
    if inputs.NAME != "images":
        raise UserError(
            f"encode.source: {settings.source!r} sees images, but the samples of this study are {inputs.NAME}"
        )
    channels = facts["channels"]
    if channels not in (1, COLOURS):
        raise UserError(
            f"encode.source: {settings.source!r} sees grey or RGB images, but these have {channels} channels"
        )
    size, mean, std = _preferred(settings.source)
    size = settings.size or size
    assert settings.weights is not None
    path = None if settings.weights == LIBRARY else given(settings.weights)
    model = _load(settings.source, path, size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.eval().requires_grad_(False).to(device).to(memory_format=torch.channels_last)
    preprocessing = inputs.preprocessing({**facts, "mean": mean, "std": std, "resize": size}).to(device)

    @torch.inference_mode()
    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(np.array(pools[split][rows])).to(device)
        images = images.expand(-1, COLOURS, -1, -1) if channels == 1 else images
        x = inputs.arranged(preprocessing(images))
        return model.forward_head(model.forward_features(x), pre_logits=True).float().cpu().numpy()

    return Encoder(settings.source, _width(model), encode, None if path is None else _sha256(path))


def _load(arch: str, path: Path | None, size: int) -> Network:
    """The network with the weights of a file, of however many classes; without a file those that the library fetches."""
    if path is None:
        with tempfile.TemporaryDirectory() as folder:
            fetched = Path(folder) / "fetched.safetensors"
            save_file({name: tensor.contiguous().clone() for name, tensor in _fetch(arch).items()}, fetched)
            return _load(arch, fetched, size)
    if path.is_dir():
        raise UserError(f"encode.weights: {no_file(path)}")
    state, model = read_state(path), build(arch, channels=COLOURS, classes=2, size=(size, size))
    head = model.get_classifier().weight
    names = [name for name, parameter in model.named_parameters() if parameter is head]
    names += [f"{name}.weight" for name in (getattr(model, "classifier_name", None),) if name]
    found = next((state[name] for name in names if name in state), None)
    if found is None or found.ndim != 2:
        raise UserError(
            f"encode.weights: {path}: lacks the classifier of {arch} ({' or '.join(names)}), whose rows are its classes"
        )
    model = build(arch, channels=COLOURS, classes=len(found), size=(size, size))
    load_weights(model, path)
    return model


def _preferred(arch: str) -> tuple[int, Sequence[float], Sequence[float]]:
    """Pixels a side, and the mean and deviation of a channel, that the library names for a network's weights."""
    library, _, name = arch.partition(":")
    if library == "timm":
        import timm

        found = timm.get_pretrained_cfg(name, allow_unregistered=True)
        return (224, MEAN, STD) if found is None else (found.input_size[-1], found.mean, found.std)
    import torchvision

    try:
        wanted = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    except ValueError:  # an unknown name, which `build` refuses with the near ones
        return 224, MEAN, STD
    return wanted.crop_size[0], wanted.mean, wanted.std


def _fetch(arch: str) -> dict[str, Tensor]:
    """The library's own weights, over the network. Raises UserError where it has none or they cannot be had."""
    library, _, name = arch.partition(":")
    try:
        if library == "timm":
            import timm

            return dict(timm.create_model(name, pretrained=True).state_dict())
        import torchvision

        return dict(torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(progress=False))
    except Exception as error:  # each library and its client have errors of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"encode.weights: 'library': those of {arch} cannot be had ({reason}); name a file of weights"
        ) from None


def _width(model: Network) -> int:
    """Dimensions of the embedding."""
    return int(model.get_classifier().in_features)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
