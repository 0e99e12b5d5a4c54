"""llama.cpp's own server on a tiny model that looks at images, with random weights made here: `llama_server.py FOLDER PORT KEY`.

The model (two layers, 32 wide; an image becomes 4 tokens) knows the pieces below beside single bytes, and prefers them to bytes.
"""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import xllamacpp

NAME = "tiny"
PIECES = ["cat", " cat", "Cat", "dog", "hor", "ship", "bi", "The", "tr", "frog", "a"]
WIDE, INNER, LAYERS, HEADS = 32, 64, 2, 4
SIDE, PATCH, SEEN, SEEN_INNER = 28, 14, 16, 32


def language_model(path: Path, draw: Callable) -> None:
    """A model of the llama family. A byte's output weights are small, so that all bytes are about as likely, and less than pieces."""
    tokens = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *(p.replace(" ", "▁") for p in PIECES),
    ]
    file = gguf.GGUFWriter(path, "llama")
    file.add_name(NAME)
    file.add_context_length(4096)
    file.add_embedding_length(WIDE)
    file.add_block_count(LAYERS)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDE // HEADS)
    file.add_vocab_size(len(tokens))
    file.add_tokenizer_model("llama")
    file.add_token_list([token.encode() for token in tokens])
    file.add_token_scores([0.0] * 3 + [-1000.0] * 256 + [-1.0] * len(PIECES))
    file.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(PIECES))
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_unk_token_id(0)
    file.add_chat_template("{% for message in messages %}{{ message['content'] }}\n{% endfor %}")
    embedding, output = draw(len(tokens), WIDE) * 3, draw(len(tokens), WIDE)
    embedding[:, 0] = 12  # a direction that is the same in every state
    output[: -len(PIECES)] *= 0.05
    output[: -len(PIECES), 0], output[-len(PIECES) :, 0] = 0, 1
    file.add_tensor("token_embd.weight", embedding)
    file.add_tensor("output.weight", output)
    file.add_tensor("output_norm.weight", np.ones(WIDE, np.float32))
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            file.add_tensor(f"blk.{layer}.{name}.weight", draw(WIDE, WIDE))
        for name, shape in (("ffn_gate", (INNER, WIDE)), ("ffn_up", (INNER, WIDE)), ("ffn_down", (WIDE, INNER))):
            file.add_tensor(f"blk.{layer}.{name}.weight", draw(*shape))
        for name in ("attn_norm", "ffn_norm"):
            file.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDE, np.float32))
    _write(file)


def eye(path: Path, draw: Callable) -> None:
    """A vision transformer and the two layers that make tokens of its patches, as LLaVA has them."""
    file = gguf.GGUFWriter(path, "clip")
    file.add_bool("clip.has_vision_encoder", True)
    file.add_string("clip.projector_type", "mlp")
    file.add_bool("clip.use_gelu", True)
    sizes = {
        "image_size": SIDE,
        "patch_size": PATCH,
        "embedding_length": SEEN,
        "feed_forward_length": SEEN_INNER,
        "projection_dim": WIDE,
        "block_count": 2,
        "attention.head_count": 2,
    }
    for name, size in sizes.items():
        file.add_uint32(f"clip.vision.{name}", size)
    file.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("mean", "std"):
        file.add_array(f"clip.vision.image_{name}", [0.5, 0.5, 0.5])
    file.add_tensor("v.class_embd", draw(SEEN))
    file.add_tensor("v.patch_embd.weight", draw(SEEN, 3, PATCH, PATCH))
    file.add_tensor("v.position_embd.weight", draw((SIDE // PATCH) ** 2 + 1, SEEN))
    norms = ["v.pre_ln", "v.post_ln", *(f"v.blk.{layer}.ln{place}" for layer in range(2) for place in (1, 2))]
    for name in norms:
        file.add_tensor(f"{name}.weight", np.ones(SEEN, np.float32))
        file.add_tensor(f"{name}.bias", np.zeros(SEEN, np.float32))
    linear = {f"v.blk.{layer}.attn_{part}": (SEEN, SEEN) for layer in range(2) for part in ("q", "k", "v", "out")}
    linear |= {f"v.blk.{layer}.ffn_up": (SEEN_INNER, SEEN) for layer in range(2)}
    linear |= {f"v.blk.{layer}.ffn_down": (SEEN, SEEN_INNER) for layer in range(2)}
    for name, shape in (linear | {"mm.0": (WIDE, SEEN), "mm.2": (WIDE, WIDE)}).items():
        file.add_tensor(f"{name}.weight", draw(*shape))
        file.add_tensor(f"{name}.bias", np.zeros(shape[0], np.float32))
    _write(file)


def _write(file: gguf.GGUFWriter) -> None:
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def main(folder: str, port: str, key: str) -> None:
    place, random = Path(folder), np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (random.normal(size=shape) * 0.3).astype(np.float32)

    language_model(place / "model.gguf", draw)
    eye(place / "eye.gguf", draw)
    chosen = xllamacpp.CommonParams()
    chosen.model.path, chosen.mmproj.path = str(place / "model.gguf"), str(place / "eye.gguf")
    chosen.model_alias, chosen.api_keys = {NAME}, [key]
    chosen.hostnames, chosen.port = ["127.0.0.1"], int(port)
    chosen.n_ctx, chosen.n_parallel, chosen.warmup = 4096, 2, False
    chosen.cpuparams.n_threads = 1
    server = xllamacpp.Server(chosen)
    print(server.listening_address, flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(*sys.argv[1:])
