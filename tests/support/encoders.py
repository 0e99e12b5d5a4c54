"""A real encoder of texts, tiny and random: a folder as sentence-transformers saves it, with weights, config and tokenizer."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch


def write_encoder(folder: Path, texts: Iterable[str], width: int = 32, vocabulary: int = 300) -> Path:
    """Save a BERT of two layers to `folder`, whose tokens are learnt from `texts`; returns the folder."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel

    folder.mkdir(parents=True)
    count = write_tokenizer(folder, texts, vocabulary)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=count,
        hidden_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        initializer_range=0.3,  # or all texts would have nearly one vector
    )
    BertModel(config).save_pretrained(folder)
    whole = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(width)], device="cpu")
    whole.save(str(folder), create_model_card=False)
    return folder


def write_tokenizer(folder: Path, texts: Iterable[str], vocabulary: int) -> int:
    """Save a tokenizer of pieces of words, as BERT has it; returns how many tokens it has."""
    from tokenizers import BertWordPieceTokenizer

    learnt = BertWordPieceTokenizer()
    learnt.train_from_iterator(texts, vocab_size=vocabulary, show_progress=False)
    from tokenizers.processors import TemplateProcessing

    first, last = learnt.token_to_id("[CLS]"), learnt.token_to_id("[SEP]")
    learnt._tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", first), ("[SEP]", last)]
    )
    learnt.enable_padding(length=48)  # as some published ones have it, for all that reads the file by itself
    learnt.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("cls", "sep", "pad", "unk", "mask")}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}))
    return learnt.get_vocab_size()
