"""Runs a registered language model. MLflow copies this file into the model, and imports it from there by this name.

It needs torch, transformers, tokenizers, safetensors and pandas, and nothing of this project. It computes on the CPU unless told otherwise.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch

BATCH = 50  # prompts at a time
COLUMN, ANSWER = "prompt", "text"
PAD, TEXT, END = range(3)  # the special tokens

DESCRIPTION, WEIGHTS, TOKENIZER = "student.json", "weights.safetensors", "tokenizer.json"  # as students/<cell> has them


class Writer:
    """What `mlflow.pyfunc` calls."""

    def __init__(self, path: str, device: str, most: int) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import AutoConfig, AutoModelForCausalLM

        folder = Path(path)
        about = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        self._tokenizer: Any = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.encode_special_tokens = True
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**about["causal"]), dtype=torch.float32)
        model.load_state_dict(load_file(folder / WEIGHTS))
        self._model, self._device = model.eval().to(device), device
        self._context, self._most = about["max_tokens"], most

    def predict(self, prompts: Any) -> pd.DataFrame:
        """Prompts, one string, a list, or a table with them in its column `prompt` or its only one -> a table with `text`, a row each.

        Raises ValueError for what is no text, and for a prompt that leaves no room in the context.
        """
        if isinstance(prompts, pd.DataFrame):
            prompts = prompts[COLUMN if COLUMN in prompts.columns else prompts.columns[0]].tolist()
        given = [prompts] if isinstance(prompts, str) else list(prompts)
        for place, one in enumerate(given):
            if not isinstance(one, str) or not one.strip():
                raise ValueError(f"prompt {place}: found {one!r}, expected text")
        texts: list[str] = []
        for start in range(0, len(given), BATCH):
            texts += self._write(given[start : start + BATCH], start)
        return pd.DataFrame({ANSWER: texts})

    @torch.inference_mode()
    def _write(self, prompts: list[str], first: int) -> list[str]:
        rows = [[*self._tokenizer.encode(one, add_special_tokens=False).ids, TEXT] for one in prompts]
        for place, row in enumerate(rows, first):
            if len(row) + 1 >= self._context:
                raise ValueError(f"prompt {place}: {len(row)} tokens leave no room in a context of {self._context}")
        width = max(map(len, rows))
        tokens = torch.tensor([[PAD] * (width - len(row)) + row for row in rows], device=self._device)
        known = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=self._device)
        made = self._model.generate(
            input_ids=tokens,
            attention_mask=known,
            max_new_tokens=self._most,
            do_sample=False,
            eos_token_id=END,
            pad_token_id=PAD,
        )
        return [
            self._text(row[: self._context - len(given)])
            for given, row in zip(rows, made[:, width:].tolist(), strict=True)
        ]

    def _text(self, ids: list[int]) -> str:
        whole = ids[: ids.index(END)] if END in ids else ids
        return self._tokenizer.decode([one for one in whole if one > END], skip_special_tokens=False)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Writer:
    chosen = model_config or {}
    return Writer(path, chosen.get("device", "cpu"), int(chosen.get("max_new_tokens", 48)))
