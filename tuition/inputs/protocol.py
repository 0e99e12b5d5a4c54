"""What a module of inputs gives: all that the rest of the house knows of a sample. `images/` is one, and `kinds.py` lists them.

A module is asked by functions, so that a kind which costs torch or Pillow imports them only where it is asked for what needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Samples = np.ndarray  # (n, …) as they are stored, one a row
Facts = Mapping[str, Any]  # of samples: data/meta.json and data/train/meta.json, or a model's description


class Augmentation(Protocol):
    """What may be left to chance in training: the keys of `train` and `pretrain`. A kind reads those that it knows."""

    @property
    def crop(self) -> int: ...

    @property
    def flip(self) -> bool: ...


class Preprocessing(Protocol):
    """What a teacher wants done to samples: keys of its section. A kind that knows nothing of one raises where it is set."""

    @property
    def resize(self) -> int | None: ...

    @property
    def mean(self) -> list[float] | None: ...

    @property
    def std(self) -> list[float] | None: ...


class Placed(Protocol):
    """Samples on their device, from which training takes its batches."""

    device: torch.device

    def __len__(self) -> int: ...

    @property
    def stored(self) -> Tensor:
        """The samples (n, …) as they are stored; no copy."""
        ...

    def normalise(self, stored: Tensor) -> Tensor:
        """Samples that are so stored, as the student sees them."""
        ...

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The samples of rows (B,) as the student sees them in training; what is left to chance is drawn from the generator."""
        ...


class Inputs(Protocol):
    """A kind of inputs. `facts` are a mapping in which its own keys are: those that `facts` and `statistics` give."""

    NAME: str  # in the plural, as `INPUTS`, methods' cards and messages call them
    AXES: str  # of one sample's shape, in words
    DESCRIBED: tuple[str, ...]  # keys of facts that a model's description holds, where they are known
    SERVED: str  # what a registered student takes, in words
    SUFFIX: str  # of a file that holds one sample

    # Files and ids

    def write(self, folder: Path, samples: Samples) -> None:
        """Write samples (n, …) to the folder of a split, or of mixed inputs."""
        ...

    def read(self, folder: Path) -> Samples:
        """The samples (n, …) of such a folder, mapped and read-only. Raises UserError where they are missing or damaged."""
        ...

    def content_id(self, sample: np.ndarray, /) -> str:
        """The sha256 (hex) of one stored sample's content. It is what the ledger owns answers by: it must never change."""
        ...

    def to_file(self, sample: np.ndarray) -> bytes:
        """One sample as a file with SUFFIX that keeps all of it. Raises UserError where there is none for such a sample."""
        ...

    # Facts

    def facts(self, samples: Samples) -> dict[str, Any]:
        """What data/meta.json says of samples (n, …): their shape, as JSON."""
        ...

    def statistics(self, samples: Samples) -> dict[str, Any]:
        """What data/train/meta.json says of the training samples (n, …): what they are normalised by, as JSON."""
        ...

    def warnings(self, splits: Sequence[Samples]) -> list[str]:
        """What is wrong, by the look of it, with the samples (n, …) of all splits; none of it stops anything."""
        ...

    def shape(self, facts: Facts) -> tuple[int, ...]:
        """The shape of one stored sample."""
        ...

    def empty(self, count: int, facts: Facts) -> Samples:
        """(count, …) stored samples that hold nothing: what networks and teachers can be tried on."""
        ...

    # The pool

    def features(self, samples: Samples) -> np.ndarray:
        """(n, d) numbers in one unit that cost no call: by them `kcenter` covers the pool where no file of features is given."""
        ...

    def view_size(self, facts: Facts) -> tuple[int, int]:
        """(height, width) of which a view is a box (`tuition.views`). Raises UserError where a sample of this kind has no views."""
        ...

    def replay(self, sample: np.ndarray, view: np.ndarray, /) -> np.ndarray:
        """What the view (5,) shows of a sample, as a stored sample; zeros are the sample as it is."""
        ...

    def mix(self, one: Samples, other: Samples, share: np.ndarray) -> Samples:
        """Stored samples (m, …) that are share (m,) of `one` and the rest of `other`. Raises UserError where there is no such sample."""
        ...

    # Training and serving

    def place(self, samples: Samples, device: torch.device, facts: Facts, augmentation: Augmentation | None) -> Placed:
        """Samples (n, …) on the device, normalised as facts say. None: nothing is left to chance."""
        ...

    def preprocessing(self, facts: Facts) -> nn.Module:
        """Stored samples (B, …) → what a network takes, by `DESCRIBED` and, where it is there, `resize`; can be traced (torch.export)."""
        ...

    def receiver(self) -> Path:
        """The file of a module that a registered student takes along, so it imports nothing of this project.

        Its `stored(given, shape)` makes stored samples (n, …) of what a client sends; ValueError where that is none.
        """
        ...

    def arranged(self, inputs: Tensor) -> Tensor:
        """What `preprocessing` gave, in the memory order that networks are quickest on."""
        ...

    # Teachers

    def resized(self, sample: np.ndarray, side: int, /) -> np.ndarray:
        """One sample at the size that `teacher.resize` says. Raises UserError where a sample of this kind has none."""
        ...

    def check_sent(self, settings: Preprocessing, facts: Facts) -> None:
        """Raises UserError naming the key of `teacher` that does not fit samples with these facts."""
        ...

    def as_sent(self, settings: Preprocessing, facts: Facts) -> dict[str, Any]:
        """The facts that `shape` needs, of samples as they are sent."""
        ...

    def sent(self, samples: Samples, settings: Preprocessing) -> np.ndarray:
        """Samples (B, …) as tensors of servers (OIP, MLflow) get them: as they are stored where `settings` ask for nothing."""
        ...

    def chat_part(self, sample: np.ndarray | bytes, settings: Preprocessing, detail: str | None) -> dict[str, Any]:
        """A part of a chat message that shows one sample. Raises UserError as `check_chat` does."""
        ...

    def check_chat(self, facts: Facts) -> None:
        """Raises UserError where samples with these facts cannot be shown to a chat model."""
        ...

    def local_facts(self, settings: Preprocessing, made: Facts, facts: Facts) -> dict[str, Any]:
        """What `preprocessing` needs for a local network's own weights, by its section, then what its folder says (`made`), then the data.

        It is part of the teacher's fingerprint: it must never change. Raises UserError as `check_sent` does.
        """
        ...

    # Reports

    def draw(self, sample: np.ndarray) -> bytes:
        """One sample as a PNG that a reader can look at."""
        ...
