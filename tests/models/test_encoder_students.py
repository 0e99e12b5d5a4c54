"""Students that begin with an encoder of texts: what they read and say, and that a trained one needs the folder no more.

The encoder is a real folder, tiny and random.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from support.encoders import write_tokenizer
from torch import nn

from tuition.errors import UserError
from tuition.inputs import texts
from tuition.models import load_student, make, tokens_of
from tuition.models.start import started
from tuition.params import Student
from tuition.registry import tuition_student
from tuition.registry.model import export_graph
from tuition.training.student import write_student
from tuition.workspace import Workspace


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def described(glosses, **student):
    settings = Student(max_tokens=student.pop("max_tokens", 40), **student)
    own = texts.own(glosses, tokens_of(settings.arch, settings.folder), settings)
    return {"arch": settings.arch, "taps": [], "inputs": "texts", "classes": 3, "class_names": ["a", "b", "c"], **own}


def test_a_fine_tuned_encoder_begins_with_the_mean_of_what_the_library_says(glosses, encoder):
    from transformers import AutoModel, AutoTokenizer

    model = described(glosses, arch=f"transformers:{encoder}")
    student = started(model).eval()
    tokenizer, net = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()
    tokens = torch.from_numpy(texts.numbers(glosses[:20], model))
    assert tokens.shape[1] == 40
    with torch.no_grad():
        found = student.forward_head(student.forward_features(tokens), pre_logits=True)
        for text, row in zip(glosses, found, strict=False):
            given = tokenizer(text, return_tensors="pt", truncation=True, max_length=40)
            torch.testing.assert_close(row, net(**given).last_hidden_state[0].mean(dim=0), atol=2e-5, rtol=1e-4)
    assert not any(isinstance(one, nn.Dropout) and one.p for one in student.modules())
    # Its tokens end with the encoder's own last one, for a text that is cut too.
    last = tokens.gather(1, (tokens.ne(0).sum(dim=1) - 1)[:, None].long())
    assert set(last.flatten().tolist()) == {1 + tokenizer.sep_token_id}


def test_a_trained_one_is_loaded_and_registered_without_its_folder(tmp_path, glosses, encoder, monkeypatch):
    shutil.copytree(encoder, tmp_path / "folder")
    model = described(glosses, arch="transformers:folder")
    student = started(model).eval()
    write_student(tmp_path / "student", student.state_dict(), {}, [{"step": 1.0}], model)
    shutil.rmtree(tmp_path / "folder")
    loaded, description = load_student(tmp_path / "student")
    tokens = torch.from_numpy(texts.numbers(glosses[:9], description))
    assert torch.equal(loaded(tokens), student(tokens))
    torch.testing.assert_close(loaded(nn.functional.pad(tokens, (0, 5))), loaded(tokens))
    assert loaded(torch.zeros(2, 4, dtype=torch.int32)).isfinite().all()  # a text all of whose tokens are left out

    export_graph(tmp_path / "student", tmp_path / "student.pt2")
    monkeypatch.syspath_prepend(texts.receiver().parent)  # as MLflow puts it beside the graph
    served = tuition_student.Student(str(tmp_path / "student.pt2"), "cpu")
    for asked in (glosses[:9].tolist(), ["a"], [glosses[3]]):
        read = torch.from_numpy(texts.numbers(np.array(asked, dtype=object), description))
        expected = torch.softmax(loaded(read), dim=1).detach().numpy()
        np.testing.assert_allclose(served.predict(asked).to_numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("arch", ["static", "text-transformer"])
def test_a_small_one_begins_with_a_vector_for_each_token(tmp_path, glosses, encoder, arch, capsys):
    model = described(glosses, arch=arch, encoder=str(encoder))
    student = started(model)
    weight = student.embedding.weight
    assert len(weight) == model["vocabulary"] == 301
    assert not weight[0].any()
    # Turned onto axes: the frequent tokens are shorter, and alike is what the encoder takes for alike.
    assert weight[2:30].norm(dim=1).mean() < 0.6 * weight[-100:].norm(dim=1).mean()
    with torch.no_grad():
        whole = started(described(glosses, arch=f"transformers:{encoder}")).eval()
        ids = torch.arange(101, 301)
        around = torch.stack([torch.full_like(ids, 3), ids, torch.full_like(ids, 4)], dim=1)  # [CLS] and [SEP], and 1
        said = whole.forward_features(around)
        cosines = [
            nn.functional.cosine_similarity(one[:, None], one[None], dim=2)
            for one in (weight[ids], said - said.mean(0))
        ]
    assert np.corrcoef(cosines[0].flatten(), cosines[1].flatten())[0, 1] > 0.98
    told = capsys.readouterr().out
    assert "a vector for each of its 300 tokens" in told
    again = started(model)
    assert torch.equal(again.embedding.weight, weight)
    assert "a vector" not in capsys.readouterr().out  # they were kept
    assert len(list((Workspace().home.path / "token_vectors").iterdir())) == 1
    assert not torch.equal(make(model).embedding.weight, weight)
    tokens = texts.numbers(np.array([glosses[0]], dtype=object), model)[0]
    assert tokens.min() > 5  # no token of the encoder's own around a text


def spoilt(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda f: spoilt(f, auto_map={"AutoModel": "x.Y"}),
            r"student\.arch: folder/config\.json: auto_map names code",
        ),
        (
            lambda f: write_tokenizer(f, [chr(n) * 3 for n in range(200, 600)], 900),
            "the tokenizer does not fit the model",
        ),
        (lambda f: spoilt(f, model_type="none such"), "transformers:folder: transformers cannot build it"),
        (lambda f: spoilt(f, max_position_embeddings=30), "does not read a text of 40 tokens .* it has 30 places"),
        (lambda f: spoilt(f, hidden_size=64), "folder: transformers cannot load it"),
        (lambda f: spoilt(f, num_hidden_layers=3), "folder: the weights lack 16 of its config's"),
        (
            lambda f: spoilt(f, model_type="t5", d_kv=8),
            "transformers:folder: (transformers cannot build it|does not read a text)",
        ),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path, glosses, encoder, spoil, told):
    shutil.copytree(encoder, tmp_path / "folder")
    spoil(tmp_path / "folder")
    with pytest.raises(UserError, match=told):
        started(described(glosses, arch="transformers:folder"))
