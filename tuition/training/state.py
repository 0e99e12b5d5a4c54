"""The training state of a run that may be killed: written whole or not at all, and used only by the very same run.

They live in `.tuition/checkpoints/`, outside the stage's outs, because DVC deletes those before a stage runs.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from tuition.files import atomic
from tuition.workspace import Workspace

FOLDER = Workspace().home.training_states
LIBRARY = Path(__file__).parents[1]
CODE = [LIBRARY / name for name in ("training", "methods", "losses", "models", "inputs", "signals.py")]


def run_digest(*facts: object) -> str:
    """The sha256 over everything that decides a run: its facts (settings, data digests), the code of training and of models, and torch."""
    total = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    total.update(torch.__version__.encode())
    for folder in CODE:
        for file in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
            total.update(file.read_bytes())
    return total.hexdigest()


class State(TypedDict):
    """What a run goes on from, to the same bits."""

    learner: dict[str, Tensor]
    optimizer: dict[str, Any]
    progress: dict[str, Any]  # the fields of `loop.Progress`
    random: dict[str, Tensor]  # states of generators, by device
    precision: dict[str, Any]


class TrainingState:
    """The one training state of the run `name`, valid for `digest` alone."""

    def __init__(self, name: str, digest: str, folder: Path = FOLDER):
        self.path, self.digest = folder / f"{name}.pt", digest

    def read(self, device: torch.device) -> State | None:
        """The state to resume from; None where there is none, it is another run's, or it is damaged."""
        try:
            saved = torch.load(self.path, map_location=device, weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:  # a damaged file costs time, never the run
            print(f"{self.path}: cannot be read ({error}); starting anew")
            return None
        if saved.pop("digest", None) != self.digest:
            return None
        for key, state in saved["random"].items():  # random states stay on the host
            saved["random"][key] = state.cpu()
        return saved

    def write(self, state: State) -> None:
        with atomic(self.path) as file:
            torch.save({**state, "digest": self.digest}, file)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
