"""One cell's figures as a language model: how it stands against the test references, and what it writes itself."""

import time

import numpy as np
import torch

from stages.evaluate.metrics import reliability_of
from tuition.files import read_array, write_array, write_json
from tuition.inputs.kinds import workspace_inputs
from tuition.inputs.texts.files import read_references
from tuition.models.causal import Causal, load_causal, write
from tuition.models.sequences import Sequences
from tuition.params import Evaluate
from tuition.tables import write_columns
from tuition.targets.tokens import unpack
from tuition.training.language import judge
from tuition.training.sequences import TextSet
from tuition.workspace import Split, Workspace

WRITTEN = 500  # test prompts that a text is written to
SINGLE = 10  # prompts that are timed one by one
TOGETHER = 100  # prompts in one pass
MOST = 48  # tokens of a text
CPU = torch.device("cpu")


def evaluate_language(settings: Evaluate, cell: str, budget: int) -> None:
    """Write results/<cell>/: `logits.npy` (n, 2) float32 holds token accuracy and NLL a token of each test text, `per_class.csv` a row a
    text, `reliability.csv` how often the likeliest token is right, by its probability."""
    here = Workspace()
    student, results = here.student(cell), here.results(cell)
    causal = load_causal(student.path, f"students/{cell}")
    found: dict[str, float] = {}
    for split, prefix in (("val", "val_"), ("test", "")):
        held = _held(here.split(split), causal.sequences)
        judged = judge(causal.model, held, CPU)
        right, nll = judged.by_text(judged.right), judged.by_text(judged.nll)
        found |= {f"{prefix}token_accuracy": float(right.mean()), f"{prefix}nll": judged.token_nll}
    found |= _written(causal, here.split("test"))
    bought = read_array(here.outputs(budget).signal("text"))
    found["tokens_bought"] = sum(map(len, unpack(np.asarray(bought))))
    found["parameters"] = sum(p.numel() for p in causal.model.parameters())
    found |= {"size_bytes": student.weights.stat().st_size, "n_test": len(right), "n_tokens": len(judged.nll)}

    write_array(results.logits, np.stack([right, nll], axis=1).astype(np.float32))
    ids = [id.decode()[:16] for id in read_array(here.split("test").ids).tolist()]
    write_columns(results.per_class, {"label": ids, "recall": right, "nll": nll})
    bins = reliability_of(judged.confidence, judged.right, settings.bins)
    write_columns(results.reliability, bins)
    write_json(results.latency, _latency(causal, held.prompts))
    write_json(results.metrics, found | {"against": "references"})


def _held(files: Split, sequences: Sequences) -> TextSet:
    prompts = sequences.prompts(workspace_inputs().read(files.path), str(files))
    return TextSet(prompts, sequences.texts(read_references(files)), sequences.context)


def _written(causal: Causal, files: Split) -> dict[str, float]:
    """Of the first test prompts, the share whose text is the reference, but for case and spaces."""
    prompts = causal.sequences.prompts(workspace_inputs().read(files.path)[:WRITTEN], str(files))
    made = []
    for start in range(0, len(prompts), TOGETHER):
        made += write(causal.model, prompts[start : start + TOGETHER], MOST, causal.sequences.context)
    same = [
        _plain(causal.sequences.text_of(ids)) == _plain(reference)
        for ids, reference in zip(made, read_references(files), strict=False)
    ]
    return {"exact_match": float(np.mean(same)), "n_written": len(made)}


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _latency(causal: Causal, prompts: list[list[int]]) -> dict[str, object]:
    """From a prompt to its text; the median in milliseconds."""

    def timed(some: list[list[int]]) -> float:
        begin = time.perf_counter()
        write(causal.model, some, MOST, causal.sequences.context)
        return 1e3 * (time.perf_counter() - begin)

    single = [timed([prompt]) for prompt in prompts[:SINGLE]]
    many = prompts[:TOGETHER]
    return {"batch": len(many), "batch_ms": timed(many), "single_ms": float(np.median(single)), "device": "cpu"}
