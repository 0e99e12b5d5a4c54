"""Language models that see what is before a token and nothing behind it: Llama's network of the library transformers, made from scratch.

A folder of one holds `weights.safetensors`, `student.json` with the library's config, and `tokenizer.json`. No code of a folder is run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from tuition.errors import UserError
from tuition.files import read_json, read_text
from tuition.models.description import ModelDescription
from tuition.models.encoders import first_line, import_library
from tuition.models.sequences import END, PAD, Layout, Sequences
from tuition.workspace import Model

SIZES = {"causal-2": (2, 128, 4), "causal-4": (4, 256, 4), "causal-6": (6, 384, 6)}  # layers, width, heads
VOCABULARY, CONTEXT = 2048, 128  # tokens, where they are learnt


class Causal(NamedTuple):
    """A trained model in eval mode, its description and how it reads."""

    model: nn.Module
    description: ModelDescription
    sequences: Sequences


def describe_causal(arch: str, sequences: Sequences) -> ModelDescription:
    """The description of a new model of this architecture."""
    layers, width, heads = SIZES[arch]
    config = {
        "model_type": "llama",
        "vocab_size": sequences.vocabulary,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": sequences.context,
        "pad_token_id": PAD,
        "bos_token_id": None,
        "eos_token_id": END,
        "tie_word_embeddings": False,
    }
    about = {
        "arch": arch,
        "inputs": "texts",
        "classes": 0,
        "class_names": [],
        "taps": [],
        "vocabulary": sequences.vocabulary,
        "max_tokens": sequences.context,
        "causal": config,
        "tokenizer": sequences.tokenizer,
    }
    return cast(ModelDescription, about)


def build_causal(description: ModelDescription) -> nn.Module:
    """The network of a description, with fresh weights. Raises UserError where transformers is missing or cannot build it."""
    transformers = import_library("transformers", description["arch"])
    config = dict(description["causal"])
    try:
        about = transformers.AutoConfig.for_model(**config)
        return transformers.AutoModelForCausalLM.from_config(about, dtype=torch.float32, trust_remote_code=False)
    except Exception as error:  # a config that lacks something
        raise UserError(f"{description['arch']}: transformers cannot build it ({first_line(error)})") from error


def load_causal(folder: Path, where: str) -> Causal:
    """The model in a folder. Raises UserError, which begins with `where`, for a folder that holds none."""
    from safetensors.torch import load_file

    files = Model(folder)
    if not (files.description.is_file() and files.weights.is_file() and files.tokenizer.is_file()):
        raise UserError(
            f"{where}: {folder} is no folder of a language model: it needs {files.weights.name}, {files.description.name} and "
            f"{files.tokenizer.name}"
        )
    description = read_json(files.description)
    if "causal" not in description:
        raise UserError(f"{where}: {folder} holds a model that writes no texts ({description.get('arch')})")
    description["tokenizer"] = read_text(files.tokenizer)
    model = build_causal(description)
    try:
        model.load_state_dict(load_file(files.weights))
    except (RuntimeError, OSError) as error:
        raise UserError(f"{where}: {files.weights} does not fit {files.description} ({first_line(error)})") from error
    return Causal(model.eval(), description, Sequences(description["tokenizer"], description["max_tokens"]))


def states(model: Any, layout: Layout, device: torch.device) -> Tensor:
    """The last hidden states (N, h) that tell the N tokens of a layout's texts; `model.lm_head` makes logits of them."""
    hidden = model.model(input_ids=torch.from_numpy(layout.tokens).to(device), use_cache=False).last_hidden_state
    return hidden.flatten(0, 1)[torch.from_numpy(layout.places).to(device)]


@torch.inference_mode()
def write(model: Any, prompts: Sequence[list[int]], most: int, context: int) -> list[list[int]]:
    """What the model writes behind prompts, the likeliest token each time: token lists that end in `END`, unless they have `most` tokens
    or fill the context. One batch, with a cache of keys and values."""
    width = max(map(len, prompts))
    tokens, known = torch.full((len(prompts), width), PAD), torch.zeros(len(prompts), width, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :] = torch.tensor(prompt)
        known[row, width - len(prompt) :] = 1
    device = model.lm_head.weight.device
    made = model.generate(
        input_ids=tokens.to(device),
        attention_mask=known.to(device),
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    found = []
    for prompt, row in zip(prompts, made[:, width:].tolist(), strict=True):
        row = row[: context - len(prompt)]
        found.append(row[: row.index(END) + 1] if END in row else row)
    return found
