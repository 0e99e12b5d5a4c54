"""`transformers:<folder>`: an encoder of the library transformers as a student, with the mean over its tokens and a linear layer.

It is built from the config that its description holds and begins with the weights of the folder, so a trained one needs no folder. No code
from a folder is run and nothing is fetched; which folders are refused says `tuition.inputs.texts.encoders`.
"""

import inspect
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.models.description import NetworkDescription
from tuition.models.network import Maps, OfTexts
from tuition.models.text_maps import check_taps, read_states
from tuition.models.text_transformer import mean_of_known

FROM_FOLDER = {"local_files_only": True, "trust_remote_code": False, "use_safetensors": True, "dtype": torch.float32}


class Encoder(OfTexts):
    """`net`: the library's own network, without what it would put on top of its tokens; it takes no part in them."""

    def __init__(self, net: nn.Module, width: int, classes: int, taps: Sequence[str] = ()):
        super().__init__(width, classes)
        self.net, self.taps = net, tuple(taps)
        if taps:  # hooks that come and go would be compiled anew on every call; see `tuition.models.maps`
            self.read_taps = torch.compiler.disable(_tapped)
        self.takes = frozenset(inspect.signature(net.forward).parameters)
        places = next((one for name, one in net.named_modules() if name.endswith("position_embeddings")), None)
        # Networks after RoBERTa count places from behind that of no token.
        beside = getattr(places, "padding_idx", None)
        self.first_place = 0 if beside is None else beside + 1

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, L) tokens, each one more than the library's number -> (B, d)."""
        known = x.ne(0)
        ids = (x - 1).clamp(min=0).long()
        given = {"input_ids": ids, "attention_mask": known.long()}
        # What the library makes by itself from tables of a fixed length would bind a trace to it.
        if "position_ids" in self.takes:
            given["position_ids"] = torch.arange(x.shape[1], device=x.device).expand(x.shape) + self.first_place
        if "token_type_ids" in self.takes:
            given["token_type_ids"] = torch.zeros_like(ids)
        return mean_of_known(self.net(**given).last_hidden_state, known)


def build(model: NetworkDescription) -> Encoder:
    """The network of a description, with fresh weights, tried once on the longest text.

    Raises UserError where transformers is missing, does not know such a network, or it or a tap gives no vector a token.
    """
    config, most = model["encoder"]["config"], model["max_tokens"]
    transformers = import_library("transformers", model["arch"])
    try:
        about = transformers.AutoConfig.for_model(**config)
        _without_dropout(about)
        net = _bare(transformers.AutoModel.from_config(about, dtype=torch.float32, trust_remote_code=False))
        network = Encoder(net, about.hidden_size, model["classes"], model["taps"]).eval()
    except Exception as error:  # an unknown kind, or a config that lacks something
        raise UserError(f"{model['arch']}: transformers cannot build it ({first_line(error)})") from error
    check_taps(net, network.taps, "student.taps")
    try:
        with torch.no_grad():
            longest = torch.ones(1, most, dtype=torch.int32)
            network.read_taps(network, longest) if network.taps else network(longest)
    except UserError:
        raise
    except Exception as error:
        places = getattr(about, "max_position_embeddings", "unknown")
        raise UserError(
            f"{model['arch']}: does not read a text of {most} tokens ({first_line(error)}); it has {places} places: set "
            "student.max_tokens lower, or choose another encoder"
        ) from error
    network.train()
    return network


def begin(network: Encoder, folder: str) -> None:
    """Give it the weights of the folder. Raises UserError where they do not fit its config."""
    network.net.load_state_dict(load_folder(folder).state_dict())


def load_folder(folder: str) -> Any:
    """The library's network with the weights of a folder, in eval mode. Raises UserError where they do not fit its config."""
    transformers = import_library("transformers", folder)
    try:
        net, told = transformers.AutoModel.from_pretrained(folder, output_loading_info=True, **FROM_FOLDER)
    except Exception as error:
        raise UserError(f"{folder}: transformers cannot load it ({first_line(error)})") from error
    net = _bare(net)
    if missing := sorted(set(told["missing_keys"]) & set(net.state_dict())):
        raise UserError(f"{folder}: the weights lack {len(missing)} of its config's ({', '.join(missing[:4])})")
    return net.eval()


def import_library(name: str, where: str, extra: str = "texts") -> Any:
    """The package `name`, which the extra brings. Raises UserError where it is not installed."""
    if find_spec(name) is None:
        raise UserError(f"{where}: {name} is not installed; `uv sync --extra {extra}` installs it")
    module = __import__(name)
    if name != "onnxruntime":
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
    return module


def first_line(error: Exception) -> str:
    """What a library's error says at first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _tapped(network: nn.Module, tokens: Tensor) -> Maps:
    encoder = cast(Encoder, network)
    features, stages = read_states(
        encoder.net, encoder.taps, tokens.ne(0), lambda: encoder.forward_features(tokens), "student.taps"
    )
    return Maps(None, stages, stages, features)


def _bare(net: Any) -> Any:
    """The network without its pooler, a layer on the first token that no mean over tokens reads."""
    if isinstance(getattr(net, "pooler", None), nn.Module):
        net.pooler = None
    return net


def _without_dropout(config: Any) -> None:
    for key, value in config.to_dict().items():
        if ("dropout" in key or key.endswith("pdrop")) and isinstance(value, float):
            setattr(config, key, 0.0)
