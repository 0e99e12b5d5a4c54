"""The samples that bought answers belong to."""

from pathlib import Path

import numpy as np

from tuition.files import read_array
from tuition.inputs.protocol import Inputs, Samples
from tuition.workspace import Outputs


class Bought:
    """The samples of rows that were bought, made when they are asked for: `[rows]` gives (n, …) as stored, in memory of their own.

    `samples` (N, …) is the pool, `positions` (m,) each row's sample there, `views` (m, 5) its view; None: all as they are.
    """

    def __init__(self, inputs: Inputs, samples: Samples, positions: np.ndarray, views: np.ndarray | None = None):
        self.inputs, self.samples, self.positions, self.views = inputs, samples, np.asarray(positions), views

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def of_views(self) -> bool:
        """Whether rows have views of their own: an answer then belongs to exactly that view, and to no other crop or flip of it."""
        return self.views is not None

    def __getitem__(self, rows: np.ndarray | slice | list[int]) -> Samples:
        chosen = self.samples[self.positions[rows]]
        if self.views is None or not len(chosen):
            return np.ascontiguousarray(chosen)
        replay = self.inputs.replay
        return np.stack([replay(sample, view) for sample, view in zip(chosen, self.views[rows], strict=True)])


def read_bought(inputs: Inputs, samples: Samples, folder: Path) -> Bought:
    """The samples, of the pool `samples` (N, …), that the answers in outputs/<budget>/ belong to, row for row."""
    files = Outputs(folder)
    views = read_array(files.views) if files.views.exists() else None
    return Bought(inputs, samples, read_array(files.positions), views)
