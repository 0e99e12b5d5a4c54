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


def write_classifier(
    folder: Path, texts: Iterable[str], labels: Iterable[int], names: list[str], steps: int = 60
) -> Path:
    """Save a BERT of two layers that has learnt to tell classes `names` apart, as transformers saves it; returns the folder."""
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForSequenceClassification

    folder.mkdir(parents=True)
    texts = list(texts)
    count = write_tokenizer(folder, texts, 300)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=count,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
        id2label=dict(enumerate(names)),
    )
    net = BertForSequenceClassification(config)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(48)
    tokens = torch.tensor([one.ids for one in tokenizer.encode_batch(texts)])  # the file says that it fills up to 48
    known, wanted = tokens.ne(tokenizer.token_to_id("[PAD]")).long(), torch.tensor(list(labels))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(steps):
        rows = torch.randint(len(texts), (32,))
        net(tokens[rows], known[rows], labels=wanted[rows]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    net.save_pretrained(folder)
    return folder
