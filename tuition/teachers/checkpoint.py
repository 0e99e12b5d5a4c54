"""kind `checkpoint`: a local model (ours, timm's or torchvision's) with its weights in a file; on the GPU where there is one."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from tuition.errors import UserError
from tuition.files import read_json
from tuition.inputs.kinds import described, inputs_of
from tuition.inputs.protocol import Facts
from tuition.models import MAPS_VERSION, load_weights, make, signals
from tuition.models.description import NetworkDescription
from tuition.models.network import Network
from tuition.models.weights import no_file, read_state
from tuition.params.teacher import CheckpointSettings
from tuition.signals import LAYERED, arrays_of
from tuition.teachers.derived import boundary, from_maps, pruned_copy
from tuition.workspace import Model, Workspace, given


class CheckpointTeacher:
    """A model in eval mode. Its answers are a function of weights, architecture and preprocessing: asking again is free."""

    idempotent = True

    def __init__(
        self,
        model: Network,
        description: dict[str, Any],
        precision: str,
        classes: int,
        families: Sequence[str],
        facts: Facts,
    ):
        """`families` of signals to give, for samples with these facts; what the description says of preprocessing is done to them."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.description, self.classes, self.half = description, classes, precision == "bf16-mixed"
        self.inputs = inputs_of(facts)
        self.preprocessing = self.inputs.preprocessing(description).to(self.device)
        self.families = tuple(families)
        self.maps = bool(set(families) & set(LAYERED))
        self.inside = [name for name in ("stem", "preact") if self.maps] + ["features"] * ("features" in families)
        self.pruned = pruned_copy(self.model) if "pruned" in families else None
        self.signals = tuple(self.answer(self.inputs.empty(1, facts)))

    @torch.no_grad()
    def answer(self, inputs: np.ndarray, keys: Sequence[str] = ()) -> dict[str, np.ndarray]:
        samples = torch.from_numpy(inputs).to(self.device)
        x = self.inputs.arranged(self.preprocessing(samples))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            given = signals(self.model, x, self.maps, self.inside)
            if self.pruned is not None:
                given["pruned"] = self.pruned(x)
        stages, preact = ([given.pop(name) for name in arrays_of(family, list(given))] for family in ("map", "preact"))
        said = {name: value.float() for name, value in given.items() if name in self.families}
        said |= from_maps(given.get("stem"), stages, preact, set(self.families))
        if "boundary" in self.families:
            said |= boundary(self.model, samples, *self._normalised_by())
        return {name: value.cpu().numpy() for name, value in said.items()}

    def _normalised_by(self) -> tuple[Tensor, Tensor, int | None]:
        """mean, std and resize of images, whose pixels the signal `boundary` moves."""
        mean, std = (torch.tensor(self.description[key], device=self.device) for key in ("mean", "std"))
        return mean, std, self.description["resize"]

    def constants(self) -> dict[str, np.ndarray]:
        """classifier_weight (C, d) and classifier_bias (C,), float32, where they are asked for."""
        if "classifier" not in self.families:
            return {}
        head = self.model.get_classifier()
        bias = torch.zeros(head.out_features) if head.bias is None else head.bias
        named = {"classifier_weight": head.weight, "classifier_bias": bias}
        return {name: value.detach().float().cpu().numpy() for name, value in named.items()}


def load_checkpoint(settings: CheckpointSettings, facts: dict[str, Any]) -> CheckpointTeacher:
    """The teacher of `teacher.weights`: a file, or the folder that the pretrain stage makes.

    Raises UserError where the file is missing, damaged, holds code, does not fit `teacher.arch`, or knows another number of
    classes than the data has.
    """
    path = given(settings.weights)
    if path.is_dir() and path != Workspace().teacher.path and not Model(path).meta.exists():
        raise UserError(f"teacher.weights: {no_file(path)}")
    made = read_json(Model(path).meta) if path.is_dir() else {}
    if path.is_dir():
        path = Model(path).weights
    classes, inputs = len(facts["classes"]), inputs_of(facts)
    seen = described(inputs, facts) | inputs.as_sent(settings, facts)
    network = {"arch": settings.arch, "taps": settings.taps, "classes": classes, **seen}
    model = make(cast(NetworkDescription, network))
    if "boundary" in settings.signals and inputs.NAME != "images":
        raise UserError(
            f"teacher.signals: 'boundary' moves the pixels of images, but the samples of this study are {inputs.NAME}"
        )
    state = read_state(path)
    _check_classes(model, state, classes, path)
    load_weights(model, path)
    taps = list(model.taps)  # type: ignore[arg-type]  # they decide what its maps are; timm's lists may change with timm
    description: dict[str, Any] = {
        "kind": "checkpoint",
        "arch": settings.arch,
        "weights": _weights_digest(state),
        **inputs.local_facts(settings, made, facts),
        "precision": settings.precision,
        **({"taps": taps} if taps else {}),
        # Answers of what its maps once were stay with another fingerprint. Logits too: all are one teacher's.
        **({"maps": MAPS_VERSION[settings.arch]} if settings.arch in MAPS_VERSION and not taps else {}),
    }
    return CheckpointTeacher(model, description, settings.precision, classes, settings.signals, facts)


def _check_classes(model: Network, state: dict[str, Tensor], classes: int, path: Path) -> None:
    head = model.get_classifier()
    name = next(key for key, parameter in model.named_parameters() if parameter is head.weight)
    found = state.get(name)
    if found is not None and found.ndim == 2 and found.shape[1] == head.in_features and len(found) != classes:
        raise UserError(f"{path}: this teacher knows {len(found)} classes, but the data has {classes}")


def _weights_digest(state: dict[str, Tensor]) -> str:
    """The sha256 over names, types, shapes and bytes: the same weights in another file are the same teacher."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
