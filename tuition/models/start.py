"""How a student begins: with fresh weights, or with those of an encoder that its description names."""

from typing import cast

import torch
from torch import nn

from tuition.models import BEGUN, TRANSFORMERS, make
from tuition.models.description import NetworkDescription
from tuition.models.network import Network


def started(model: NetworkDescription) -> Network:
    """The network of a description as training begins with it. Raises UserError where the folder of its encoder cannot be used."""
    network = make(model)
    if "encoder" not in model:
        return network
    if model["arch"].startswith(f"{TRANSFORMERS}:"):
        from tuition.models.encoders import Encoder, begin

        begin(cast(Encoder, network), model["encoder"]["folder"])
    elif model["arch"] in BEGUN:
        from tuition.models.token_vectors import token_vectors

        embedding = cast(nn.Embedding, network.embedding)
        with torch.no_grad():
            embedding.weight.copy_(token_vectors(model, embedding.embedding_dim))
    return network
