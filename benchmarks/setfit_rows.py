"""SetFit's own code on the texts and the teacher's classes that `banking77` buys, beside our student from the same start in as many steps.

`uv venv SETFIT && uv pip install --python SETFIT/bin/python setfit==1.1.3 'transformers<5' 'sentence-transformers<5.2'`, then
`python -m benchmarks.setfit_rows DATA WORK --encoder FOLDER --python SETFIT/bin/python`: DATA, WORK and FOLDER as `banking77` has them.
SetFit is no dependency of this project: it runs in that environment, and is given texts and classes in a file. It fine-tunes the encoder on
pairs of texts, of one class or of two, and fits logistic regression on its vectors. A step there sees 16 pairs, here 32 texts: as many.
Both read a text's first 32 tokens. How many steps is what two busy cores allow; by default SetFit goes once through all pairs of texts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import banking77 as study
from benchmarks.banking77 import Cell
from benchmarks.banking77_texts import Study, draw, open_study

WORKER = """
import json, sys
import torch
torch.set_num_threads(1)
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments
asked = json.load(open(sys.argv[1], encoding="utf-8"))
model = SetFitModel.from_pretrained(asked["encoder"], local_files_only=True)
model.model_body.max_seq_length = asked["tokens"]
settings = TrainingArguments(batch_size=16, max_steps=asked["steps"], seed=asked["seed"], report_to="none", output_dir=asked["out"],
                             save_strategy="no", eval_strategy="no", show_progress_bar=False)
data = Dataset.from_dict({"text": asked["texts"], "label": asked["classes"]})
Trainer(model=model, args=settings, train_dataset=data).train()
said = {split: [int(one) for one in model.predict(asked[split], show_progress_bar=False)] for split in ("val", "test")}
json.dump(said, open(sys.argv[2], "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--python", type=Path, required=True, help="of the environment with setfit")
    parser.add_argument("--budgets", type=int, nargs="+", default=[200, 400])
    parser.add_argument("--regimes", nargs="+", choices=study.REGIMES, default=list(study.REGIMES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no cell after so many")
    args = parser.parse_args()
    end, encoder, python = time.monotonic() + 60 * args.minutes, args.encoder.resolve(), args.python.absolute()
    opened = open_study(args.data.resolve(), args.work.resolve(), None)
    cells = [
        Cell("few", budget, "setfit", "transformers", args.steps, seed)
        for budget in args.budgets
        for seed in range(args.seeds)
    ]
    ours = [cell._replace(regime=regime, method="pool-ckd") for cell in cells for regime in args.regimes]
    for cell in sorted([*cells, *ours], key=lambda cell: (cell.seed, args.budgets.index(cell.budget))):
        if cell.key in study.kept() or time.monotonic() > end:
            continue
        if cell.method == "setfit":
            found = run_setfit(cell, opened, encoder, python)
        else:
            found = study.train_cell(cell, opened, encoder, study.TUNED["lr"])
        print(cell.key, found, flush=True)
        study.keep(cell.key, found)
    study.write_result()


def run_setfit(cell: Cell, opened: Study, encoder: Path, python: Path) -> dict[str, Any]:
    """Train and test SetFit on the cell's draw; top-1 in 0…1, and the seconds that it took."""
    bought, _ = draw(opened, cell.budget, cell.seed)
    with tempfile.TemporaryDirectory() as scratch:
        asked, answered = Path(scratch, "asked.json"), Path(scratch, "answered.json")
        content = {
            "texts": opened.pool[0][bought].tolist(),
            "classes": opened.answers[bought].argmax(1).tolist(),
            "val": opened.val[0].tolist(),
            "test": opened.test[0].tolist(),
            "encoder": str(encoder),
            "tokens": study.MOST,
            "steps": cell.steps,
            "seed": cell.seed,
            "out": scratch,
        }
        asked.write_text(json.dumps(content), encoding="utf-8")
        began = time.monotonic()
        ran = subprocess.run([python, "-c", WORKER, asked, answered], cwd=scratch, capture_output=True, text=True)
        if ran.returncode:
            sys.exit(f"setfit ended with {ran.returncode}:\n{ran.stderr[-3000:]}")
        said = json.loads(answered.read_text())
    tops = {"top1": (said["test"], opened.test[1]), "val_top1": (said["val"], opened.val[1])}
    found = {name: float((truth == given).mean()) for name, (given, truth) in tops.items()}
    return found | {"seconds": round(time.monotonic() - began, 1)}


if __name__ == "__main__":
    main()
