"""A vector for each token of an encoder, after model2vec (github.com/MinishLab/model2vec): what the encoder says of the token alone.

Its vectors are turned onto their axes of largest variance, the first of which are kept, and frequent tokens weigh less. How frequent one is
says its place in the vocabulary, which such tokenizers sort so. They are kept below `.tuition/`, since a large vocabulary takes a minute.
"""

import hashlib

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from tuition.files import atomic
from tuition.models.description import NetworkDescription
from tuition.models.encoders import load_folder
from tuition.models.text_transformer import mean_of_known
from tuition.workspace import Workspace, given

RECIPE = 1  # counted up where other vectors come of the same encoder
TOGETHER = 1024  # tokens in one pass
RARE = 1e-4  # of a text's tokens, a share from which a token weighs half and less


def token_vectors(model: NetworkDescription, width: int) -> Tensor:
    """(vocabulary, width) float32 of which a student's embedding begins, zeros for no token. Raises UserError as `load_folder` does."""
    start = model["encoder"]
    facts = (RECIPE, start["sha256"], model["tokenizer"], model["vocabulary"], width)
    file = Workspace().home.token_vectors(hashlib.sha256(repr(facts).encode()).hexdigest())
    if file.exists():
        return load_file(file)["vectors"]
    print(
        f"student.encoder: {start['folder']}: a vector for each of its {model['vocabulary'] - 1:,} tokens", flush=True
    )
    found = _weighed(_on_axes(_asked(start["folder"], model["vocabulary"] - 1), width))
    vectors = torch.cat([torch.zeros(1, width), found])
    with atomic(file) as out:
        out.write(save({"vectors": vectors}))
    return vectors


@torch.inference_mode()
def _asked(folder: str, count: int) -> Tensor:
    """What the encoder says of each of its tokens between what its tokenizer puts around a text: (count, d)."""
    from tokenizers import Tokenizer

    net = load_folder(folder)
    tokenizer = Tokenizer.from_file(str(given(folder) / "tokenizer.json"))
    tokenizer.no_padding()  # which some files ask for, up to hundreds of tokens
    tried = tokenizer.encode("a")
    special = torch.tensor(tried.special_tokens_mask).bool()
    ids = torch.tensor(tried.ids)
    first = int((~special).nonzero()[0])
    before, behind = ids[:first], ids[first:][special[first:]]
    found = []
    for tokens in torch.arange(count).split(TOGETHER):
        around = [before.expand(len(tokens), -1), tokens[:, None], behind.expand(len(tokens), -1)]
        asked = torch.cat(around, dim=1)
        known = torch.ones_like(asked)
        found.append(mean_of_known(net(input_ids=asked, attention_mask=known).last_hidden_state, known.bool()))
    return torch.cat(found)


def _on_axes(vectors: Tensor, width: int) -> Tensor:
    """The `width` principal components of vectors (V, d); zeros behind them where there are fewer."""
    centred = vectors.double() - vectors.double().mean(dim=0)
    _, axes = torch.linalg.eigh(centred.mT @ centred)
    found = centred @ axes.flip(1)[:, :width]
    return torch.nn.functional.pad(found, (0, width - found.shape[1])).float()


def _weighed(vectors: Tensor) -> Tensor:
    """Frequent tokens made short, and all together of the size that fresh embeddings have."""
    share = 1 / torch.arange(2, len(vectors) + 2)
    vectors = vectors * (RARE / (RARE + share / share.sum()))[:, None]
    return vectors / vectors.square().mean().sqrt().clamp(min=1e-12)
