"""A study of language models through every stage, from a table of words and definitions to a registered student that writes."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from support import stage, templates
from support.registry import tuition

from tuition.errors import UserError
from tuition.files import read_array, read_json
from tuition.inputs import texts
from tuition.models.causal import load_causal, write
from tuition.models.sequences import END, JOINT, PAD
from tuition.params import Data, load
from tuition.params.teacher import teacher_settings
from tuition.sources.prompts import load_prompts
from tuition.tables import read_rows
from tuition.targets.tokens import unpack
from tuition.teachers import load_teacher
from tuition.workspace import Workspace

PARAMS = """
study: {budgets: [60], methods: [sft, seq-kd, token-kd], seeds: [0]}
data: {source: "jsonl:words.jsonl", columns: {prompt: word, reference: definition}, watch: words.jsonl}
teacher: {kind: language, name: writer, weights: teacher, arch: causal-2, batch_size: 32, top_k: 8, max_new_tokens: 24}
pretrain: {steps: 20, batch_size: 16, optimizer: adamw, lr: 0.005, weight_decay: 0.01, validate_every: 10}
student: {arch: causal-2}
train: {steps: 6, batch_size: 16, optimizer: adamw, lr: 0.005, weight_decay: 0.01, validate_every: 3}
methods: {sft: {}, seq-kd: {}, token-kd: {}}
register: {name: words}
"""
METHODS = ("sft", "seq-kd", "token-kd")


def environment(folder):
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    return inherited | {"TUITION_LEDGER": str(folder / "ledger.db")}


def write_words(folder):
    """Short real definitions: 90 to train and validate, 30 to test."""
    found, left = load_prompts(Data(source="wordnet-definitions")), {"train": 90, "test": 30}
    lines = []
    for word, definition, split in zip(found.records.texts, found.references, found.splits, strict=True):
        if left[split] and len(word) < 40 and len(definition) < 24:
            left[split] -= 1
            lines.append(json.dumps({"word": word, "definition": definition, "split": split}))
    (folder / "words.jsonl").write_text("\n".join(lines))


def run(folder, *stages):
    said = {}
    for name, *more in stages:
        ran = stage(name, *more, cwd=folder, env=environment(folder))
        assert ran.returncode == 0, f"{name}: {ran.stdout}{ran.stderr}"
        said[name, *more] = ran.stdout
    return said


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder of the study after every stage, and what each said."""
    folder = tmp_path_factory.mktemp("language")
    (folder / "params.yaml").write_text(PARAMS)
    write_words(folder)
    templates.mlflow_database(folder / "mlflow.db")
    said = run(
        folder,
        ("prepare",),
        ("pretrain",),
        ("teach", 40),
        ("teach", 60),
        ("estimate", 60),
        ("compare", 60),
        *((name, 60, method, 0) for method in METHODS for name in ("train", "evaluate")),
        ("report",),
        ("register",),
    )
    return folder, said


@pytest.fixture(scope="module")
def teacher(study):
    folder, _ = study
    return load_causal(folder / "teacher", "teacher")


def alone(causal, prompt, most):
    """The likeliest token each time, each time from the beginning: no cache, no batch."""
    made: list[int] = []
    with torch.inference_mode():
        while len(made) < most and END not in made:
            made.append(int(causal.model(torch.tensor([prompt + made])).logits[0, -1].argmax()))
    return made


def test_texts_are_written_in_batches_as_one_by_one(study, teacher):
    folder, _ = study
    shown = texts.read(folder / "data/test")[:8].tolist()
    prompts = teacher.sequences.prompts(shown, "here")
    together = write(teacher.model, prompts, 12, teacher.sequences.context)
    assert together == [alone(teacher, prompt, 12) for prompt in prompts]
    assert len({len(prompt) for prompt in prompts}) > 1
    assert not any(PAD in text for text in together)


def test_answers_are_the_teachers_own(study, teacher):
    """Each text is what it writes to its prompt, and the values are those of a pass over prompt and text."""
    folder, _ = study
    outputs = Workspace(folder).outputs(40)
    positions = read_array(outputs.positions)
    prompts = teacher.sequences.prompts(texts.read(folder / "data/train")[positions], "here")
    written = unpack(read_array(outputs.signal("text")))
    assert len(written) == 40
    for row in (0, 17):
        assert written[row] == alone(teacher, prompts[row], 24)
        with torch.inference_mode():
            logits = teacher.model(torch.tensor([prompts[row] + written[row]])).logits[0].double()
        log_p = torch.log_softmax(logits, dim=1)[len(prompts[row]) - 1 : -1]
        top = log_p.topk(8, dim=1)
        length = len(written[row])
        np.testing.assert_allclose(read_array(outputs.signal("top_values"))[row, :length], top.values, atol=1e-5)
        assert (read_array(outputs.signal("top_indices"))[row, :length] == top.indices.numpy()).all()


def test_a_larger_budget_pays_the_difference_and_no_run_pays_twice(study):
    folder, said = study
    small, large = (read_json(Workspace(folder).outputs(budget).spend) for budget in (40, 60))
    assert (small["calls"], large["calls"]) == (40, 60)
    again = run(folder, ("teach", 60))["teach", 60]
    assert "0 new" in again, (said["teach", 60], again)
    ids = [read_array(Workspace(folder).outputs(budget).ids).tolist() for budget in (40, 60)]
    assert ids[0] == ids[1][:40]


def test_references_are_scored_where_they_are_asked_for(study, tmp_path):
    """Another id, so another call; the tokens are the reference's."""
    folder, _ = study
    here = tmp_path / "study"
    shutil.copytree(folder, here, ignore=shutil.ignore_patterns("students", "results", "mlruns", "report"))
    (here / "params.yaml").write_text(PARAMS + "teach: {texts: references}\n")
    refused = stage("teach", 40, cwd=here, env=environment(here))
    assert refused.returncode
    assert "'seq-kd' learns from texts that the teacher writes" in refused.stderr
    changed = PARAMS.replace("methods: [sft, seq-kd, token-kd]", "methods: [token-kd]")
    (here / "params.yaml").write_text(changed + "teach: {texts: references}\n")
    run(here, ("teach", 40))
    outputs, causal = Workspace(here).outputs(40), load_causal(here / "teacher", "teacher")
    positions = read_array(outputs.positions)
    references = texts.read(here / "data/train/references")[positions]
    prompts = texts.read(here / "data/train")[positions]
    assert unpack(read_array(outputs.signal("text"))) == causal.sequences.texts(references)
    joined = [texts.content_id(f"{prompt}{JOINT}{text}") for prompt, text in zip(prompts, references, strict=True)]
    assert read_array(outputs.ids).astype(str).tolist() == joined


def test_students_read_as_their_teacher(study):
    folder, _ = study
    for method in METHODS:
        assert (folder / f"students/60-{method}-0/tokenizer.json").read_text() == (
            folder / "teacher/tokenizer.json"
        ).read_text()


def test_figures_are_those_of_the_references(study):
    """Token accuracy and NLL of a cell, counted again text by text in float64."""
    folder, _ = study
    causal = load_causal(folder / "students/60-token-kd-0", "student")
    prompts = causal.sequences.prompts(texts.read(folder / "data/test"), "here")
    references = causal.sequences.texts(texts.read(folder / "data/test/references"))
    accuracy, total, count = [], 0.0, 0
    for prompt, text in zip(prompts, references, strict=True):
        with torch.inference_mode():
            logits = causal.model(torch.tensor([prompt + text])).logits[0, len(prompt) - 1 : -1].double()
        log_q = torch.log_softmax(logits, dim=1)
        accuracy.append(float((log_q.argmax(1) == torch.tensor(text)).double().mean()))
        total -= float(log_q[torch.arange(len(text)), torch.tensor(text)].sum())
        count += len(text)
    metrics = read_json(folder / "results/60-token-kd-0/metrics.json")
    assert metrics["token_accuracy"] == pytest.approx(np.mean(accuracy), abs=1e-6)
    assert metrics["nll"] == pytest.approx(total / count, rel=1e-5)
    assert metrics["n_tokens"] == count
    rows = read_rows(folder / "results/60-token-kd-0/per_class.csv")
    assert [float(row["recall"]) for row in rows] == pytest.approx(accuracy, abs=1e-6)


def test_the_report_names_its_figure(study):
    folder, _ = study
    report = (folder / "report/report.md").read_text()
    assert "token accuracy %" in report
    assert "NLL, in nats a token: lower is better" in report
    assert "top-1" not in report
    assert "token accuracy" in (folder / "report/report.html").read_text()
    best = max(read_json(folder / f"results/60-{m}-0/metrics.json")["val_token_accuracy"] for m in METHODS)
    assert read_json(folder / "report/registered.json")["val_token_accuracy"] == best


def test_the_registered_student_writes_as_its_folder(study, monkeypatch):
    folder, _ = study
    monkeypatch.chdir(folder)
    cell = read_json(folder / "report/registered.json")["cell"]
    prompt = texts.read(folder / "data/test")[0]
    causal = load_causal(folder / f"students/{cell}", "student")
    (ids,) = write(causal.model, causal.sequences.prompts([prompt], "here"), 48, causal.sequences.context)
    said = tuition("predict", prompt)
    assert said.exit_code == 0, said.output
    assert said.stdout == causal.sequences.text_of(ids) + "\n"
    beside = tuition("predict", prompt, "--weights", f"students/{cell}", "--json")
    assert json.loads(beside.stdout) == {"texts": [{"prompt": prompt, "text": causal.sequences.text_of(ids)}]}


def test_what_cannot_be_asked_is_told_before_a_call(study, monkeypatch):
    folder, _ = study
    facts = read_json(folder / "data/meta.json")
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"teacher.top_k: found 99999, .* valid: 1 to that"):
        load_teacher(teacher_settings(kind="language", top_k=99999), facts)
    with pytest.raises(UserError, match=r"teacher.weights: nowhere is no folder of a language model"):
        load_teacher(teacher_settings(kind="language", weights="nowhere"), facts)
    made = load_teacher(teacher_settings(kind="language", max_new_tokens=2), facts).model
    with pytest.raises(UserError, match=r"teacher.max_new_tokens: the reference of prompt 0 .* an answer holds 2"):
        made.check([f"dog{JOINT}a member of the genus"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            {", top_k: 8, max_new_tokens: 24": "", "kind: language": "kind: sentence, folder: x"},
            "teacher.kind: found 'sentence'",
        ),
        ({"student: {arch: causal-2}": "student: {arch: text-cnn}"}, "student.arch: 'text-cnn' is not known"),
        ({"student: {arch: causal-2}": "student: {arch: causal-2, vocabulary: 500}"}, "reads as its teacher does"),
        ({"reference: definition": "text: definition"}, "makes this a study of language models"),
    ],
)
def test_keys_that_do_not_go_with_it_are_told(tmp_path, change, why):
    text = PARAMS
    for old, new in change.items():
        text = text.replace(old, new)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=why):
        load(tmp_path / "params.yaml")
