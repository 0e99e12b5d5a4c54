"""Features of `encode.source: sentence:<folder>`: what the libraries themselves say of a text, in the order of data/, and folders refused.

The encoders are real folders, tiny and random.
"""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from support.encoders import write_tokenizer

from stages.encode.__main__ import main
from stages.encode.sentence import open_sentence
from tuition import features
from tuition.errors import UserError
from tuition.inputs import texts
from tuition.origins import SPLITS
from tuition.params import Data
from tuition.sources.splits import write_splits
from tuition.workspace import Workspace

TEXTS = {"inputs": "texts"}


@pytest.fixture
def workspace(tmp_path, monkeypatch, glosses, encoder):
    monkeypatch.chdir(tmp_path)
    lines = [{"text": text, "label": str(place % 3)} for place, text in enumerate(glosses[:120])]
    (tmp_path / "glosses.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {"source": "jsonl:glosses.jsonl", "columns": {"text": "text"}}
    write_splits(Data(**data), tmp_path / "data")
    sections = {
        "study": {"budgets": [9], "methods": ["kd"], "seeds": [0]},
        "data": data,
        "encode": {"source": f"sentence:{encoder}", "batch_size": 50},
        "teacher": {"kind": "python", "name": "mine", "function": "mine:scores"},
        "student": {"arch": "ngram"},
        "methods": {"kd": {}},
    }
    YAML().dump(sections, tmp_path / "params.yaml")
    return tmp_path


def spoken(folder, samples):
    """What transformers itself says: the mean over a text's tokens of the last layer."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, net = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    found = []
    with torch.no_grad():
        for text in samples:
            given = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
            found.append(net(**given).last_hidden_state[0].mean(dim=0).numpy())
    return np.array(found)


def test_features_are_what_the_encoder_says_in_the_order_of_the_data(workspace, encoder, capsys):
    main([])
    for split in SPLITS:
        samples = texts.read(Workspace().split(split).path)
        np.testing.assert_allclose(features.read(split, len(samples)), spoken(encoder, samples), atol=2e-5)
    weights = (encoder / "model.safetensors").read_bytes()
    assert features.about()["sha256"] == hashlib.sha256(weights).hexdigest()
    assert "32 numbers for each of 120 samples" in capsys.readouterr().out


def test_an_onnx_network_without_weights_says_the_same(tmp_path, encoder, glosses):
    from transformers import AutoModel

    class Last(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = AutoModel.from_pretrained(encoder).eval()

        def forward(self, input_ids, attention_mask, token_type_ids):
            places = torch.arange(input_ids.shape[1]).expand(input_ids.shape)
            given = {"input_ids": input_ids, "attention_mask": attention_mask, "position_ids": places}
            return self.net(**given, token_type_ids=token_type_ids).last_hidden_state

    tried = tuple(torch.ones(4, 7, dtype=torch.int64) for _ in range(3))
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length")}
    made = torch.onnx.export(Last().eval(), tried, dynamic_shapes=(axes,) * 3, dynamo=True, verbose=False)
    made.save(tmp_path / "model_int8.onnx")
    shutil.copy(encoder / "tokenizer.json", tmp_path)
    with pytest.raises(UserError, match=r"does not answer a text of 256 times .*max_position_embeddings"):
        open_sentence(f"sentence:{tmp_path}", TEXTS, {"train": glosses})
    shutil.copy(encoder / "config.json", tmp_path)
    opened = open_sentence(f"sentence:{tmp_path}", TEXTS, {"train": glosses})
    assert opened.sha256 == hashlib.sha256((tmp_path / "model_int8.onnx").read_bytes()).hexdigest()
    expected = spoken(encoder, glosses[:100])
    found = opened.encode("train", np.arange(100))
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-4)

    write_tokenizer(tmp_path, glosses, 2000)
    with pytest.raises(
        UserError, match=r"model_int8\.onnx does not answer a text of 1 times the last of its tokenizer's \d+ tokens"
    ):
        open_sentence(f"sentence:{tmp_path}", TEXTS, {"train": glosses})


def changed(folder, file, **keys):
    path = folder / file
    read = json.loads(path.read_text())
    path.write_text(json.dumps([*read, keys] if isinstance(read, list) else read | keys))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: changed(f, "config.json", auto_map={"AutoModel": "mine.Own"}), "config.json: auto_map names code"),
        (lambda f: changed(f, "tokenizer_config.json", auto_map={"A": "b"}), "tokenizer_config.json: auto_map names"),
        (lambda f: changed(f, "modules.json", type="os.path", path=""), "modules.json: found .*'os.path'"),
        (
            lambda f: changed(f, "config.json", vocab_size=9),
            "tokenizer.json has 300 tokens, config.json embeddings for 9",
        ),
        (lambda f: changed(f, "config.json", vocab_size=None), "config.json: vocab_size: found None"),
        (lambda f: changed(f, "config.json", model_type="none such"), "sentence-transformers cannot open it"),
        (lambda f: changed(f, "config.json", hidden_size=64), "sentence-transformers cannot open it"),
        (lambda f: (f / "model.safetensors").write_bytes(b"?" * 90), "sentence-transformers cannot open it"),
        (lambda f: (f / "model.safetensors").unlink(), r"no weights \(model.safetensors\); found .*config.json"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json: no such file"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json: not a readable tokenizer"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: cannot be read"),
        (
            lambda f: (f.rename(f.parent / "b") and f.mkdir()) or (f.parent / "b").rename(f / "model"),
            "lies in .*model: name",
        ),
        (shutil.rmtree, "no such folder; nothing is fetched"),
        (lambda f: shutil.rmtree(f) or f.write_text("x"), "a file, expected a folder; a wheel is unpacked by"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_by_its_name(tmp_path, encoder, glosses, spoil, told):
    shutil.copytree(encoder, tmp_path / "folder")
    spoil(tmp_path / "folder")
    with pytest.raises(UserError, match=rf"encode\.source: sentence:.*folder.*{told}"):
        open_sentence(f"sentence:{tmp_path / 'folder'}", TEXTS, {"train": glosses})


def test_without_the_library_its_extra_is_named(tmp_path, encoder, glosses, monkeypatch):
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr("tuition.models.encoders.find_spec", lambda name: None if "sentence" in name else real(name))
    with pytest.raises(UserError, match=r"sentence_transformers is not installed; `uv sync --extra texts` installs it"):
        open_sentence(f"sentence:{encoder}", TEXTS, {"train": glosses})
    with pytest.raises(UserError, match="reads texts, but the samples of this study are images"):
        open_sentence(f"sentence:{encoder}", {}, {"train": glosses})
