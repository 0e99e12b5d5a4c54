"""One cell's figures of retrieval: how its ranking of all documents answers the test queries, beside the teacher's where that is owned."""

import time
from typing import Protocol

import numpy as np

from stages.evaluate.metrics import reliability_of
from tuition.files import read_array, read_json, write_array, write_json
from tuition.inputs.kinds import workspace_inputs
from tuition.models.network import Network
from tuition.params import Evaluate
from tuition.tables import write_columns, write_rows
from tuition.targets.ranking import FIGURES, figures, rank
from tuition.workspace import Model, Results, Split, Workspace

SINGLE = 20  # queries that are timed one by one
SIGNAL = "embedding"


class Asked(Protocol):
    """A student that embeds texts (n,), `answer` → ((n, d), …)."""

    @property
    def folder(self) -> Model: ...

    @property
    def network(self) -> Network: ...

    def answer(self, samples: np.ndarray) -> tuple[np.ndarray, list[float]]: ...


def evaluate_retrieval(student: Asked, results: Results, budget: int, settings: Evaluate) -> None:
    """Write results/<cell>/: `logits.npy` holds the student's embeddings of the test queries, `per_class.csv` a row a query,
    `reliability.csv` how often the first document is relevant, by its cosine."""
    here = Workspace()
    index = np.asarray(read_array(student.folder.index))
    found: dict[str, float] = {}
    for split, prefix in (("val", "val_"), ("test", "")):
        texts, relevance = _queries(here.split(split))
        queries, _ = student.answer(texts)
        rows, cosines = rank(queries, index)
        each = figures(rows, relevance)
        found |= {f"{prefix}{key}": float(each[key].mean()) for key in FIGURES}
    found["val_loss"] = read_json(student.folder.meta)["val_loss"]
    found |= _teacher(here, budget, each)
    found["parameters"] = sum(p.numel() for p in student.network.parameters())
    found |= {"size_bytes": student.folder.weights.stat().st_size, "index_bytes": index.nbytes}
    found |= {"documents": len(index), "n_test": len(texts)}

    write_array(results.logits, queries)
    _write_queries(results, here.split("test"), each)
    bins = reliability_of(np.clip(cosines[:, 0], 0, 1), _hits(rows[:, 0], relevance), settings.bins)
    write_columns(results.reliability, bins)
    write_json(results.latency, _latency(student, texts, index, settings.batch_size))
    write_json(results.metrics, found | {"against": "relevance"})


def _queries(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Texts (Q,), and relevance (m, 3)."""
    return workspace_inputs().read(split.path), read_array(split.relevance)


def _hits(first: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    """Whether each query's first document (Q,) is relevant, (Q,) bool."""
    known = set(map(tuple, relevance[:, :2].tolist()))
    return np.array([(query, document) in known for query, document in enumerate(first.tolist())])


def _write_queries(results: Results, split: Split, each: dict[str, np.ndarray]) -> None:
    """A row a query, named as its source names it; `recall` is recall@100."""
    names = [name.decode() for name in read_array(split.names).tolist()]
    rows = (
        {"label": name, "recall": recall, "ndcg10": ndcg, "mrr10": mrr}
        for name, recall, ndcg, mrr in zip(names, each["recall100"], each["ndcg10"], each["mrr10"], strict=True)
    )
    write_rows(results.per_class, ["label", "recall", "ndcg10", "mrr10"], rows)


def _teacher(here: Workspace, budget: int, each: dict[str, np.ndarray]) -> dict[str, float]:
    """The teacher's own figures on the test queries that it was asked about (`teach.evaluation`), where all documents are owned, and the
    student's on the same; none else."""
    outputs, asked = here.outputs(budget), here.outputs(budget).evaluation("test")
    place = {id: row for row, id in enumerate(read_array(outputs.ids).tolist())}
    pool = read_array(here.split("train").ids)[: read_json(here.data.meta)["documents"]].tolist()
    if not asked.ids.is_file() or not all(id in place for id in pool):
        return {}
    documents = read_array(outputs.signal(SIGNAL))[[place[id] for id in pool]]
    row_of = {id: row for row, id in enumerate(read_array(here.split("test").ids).tolist())}
    queries = np.array([row_of[id] for id in read_array(asked.ids).tolist()])
    relevance = read_array(here.split("test").relevance)
    relevance = relevance[np.isin(relevance[:, 0], queries)].copy()
    order = np.argsort(queries)
    relevance[:, 0] = np.searchsorted(queries[order], relevance[:, 0])
    found = figures(rank(read_array(asked.signal(SIGNAL))[order], documents)[0], relevance)
    both = {f"teacher_{key}": float(found[key].mean()) for key in FIGURES}
    both |= {f"beside_teacher_{key}": float(each[key][queries].mean()) for key in FIGURES}
    return both | {"n_teacher": len(queries)}


def _latency(student: Asked, texts: np.ndarray, index: np.ndarray, batch: int) -> dict[str, object]:
    """From a text to its hundred documents, by a plain matrix product over all; the median in milliseconds."""
    wide = index.astype(np.float32)

    def search(some: np.ndarray) -> float:
        begin = time.perf_counter()
        rank(student.answer(some)[0], wide)
        return 1e3 * (time.perf_counter() - begin)

    single = [search(texts[row : row + 1]) for row in range(min(SINGLE, len(texts)))]
    return {
        "batch": min(batch, len(texts)),
        "batch_ms": float(np.median([search(texts[:batch]) for _ in range(3)])),
        "single_ms": float(np.median(single)),
        "device": next(student.network.parameters()).device.type,
    }
