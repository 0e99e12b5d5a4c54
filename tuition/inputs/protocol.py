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

Samples = np.ndarray  # (n, …) as they are stored, one a row; texts: (n,) objects, each a str
Facts = Mapping[str, Any]  # of samples: data/meta.json and data/train/meta.json, or a model's description


class Augmentation(Protocol):
    """What may be left to chance in training: the keys of `train` and `pretrain`. A kind reads those that it knows."""

    @property
    def crop(self) -> int: ...

    @property
    def flip(self) -> bool: ...

    @property
    def token_dropout(self) -> float: ...

    @property
    def span_masking(self) -> float: ...


class Reading(Protocol):
    """How a student reads texts: keys of `student`. None: as its kind of tokens has it."""

    @property
    def vocabulary(self) -> int | None: ...

    @property
    def max_tokens(self) -> int | None: ...

    @property
    def folder(self) -> str | None:
        """Of the encoder whose tokens it reads."""
        ...


class Preprocessing(Protocol):
    """What a teacher wants done to samples: keys of its section. A kind that knows nothing of one raises where it is set."""

    @property
    def resize(self) -> int | None: ...

    @property
    def mean(self) -> list[float] | None: ...

    @property
    def std(self) -> list[float] | None: ...


class Placed(Protocol):
    """Samples on their device as `numbers` gives them, from which training takes its batches."""

    device: torch.device

    def __len__(self) -> int: ...

    @property
    def stored(self) -> Tensor:
        """All samples (n, …)."""
        ...

    def normalise(self, stored: Tensor) -> Tensor:
        """Such samples, as the student sees them."""
        ...

    def batch(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """The samples of rows (B,) as the student sees them in training; what is left to chance is drawn from the generator."""
        ...


class Inputs(Protocol):
    """A kind of inputs. `facts` are a mapping in which its own keys are: those that `facts` and `statistics` give."""

    NAME: str  # in the plural, as `INPUTS`, methods' cards and messages call them
    AXES: str  # of one sample's shape, in words
    DESCRIBED: tuple[str, ...]  # keys of facts that a model's description holds, where they are known
    DYNAMIC: tuple[int, ...]  # axes of what `numbers` gives that may be of any length
    SERVED: str  # what a registered student takes, in words
    REQUIRES: tuple[str, ...]  # packages, beside numpy and torch, that it takes to read that
    SUFFIX: str  # of a file that holds one sample
    EXPORTED: str  # what `numbers` gives, as the input of an exported graph is called

    # Files and ids

    def write(self, folder: Path, samples: Samples) -> None:
        """Write samples (n, …) to the folder of a split, or of mixed inputs."""
        ...

    def read(self, folder: Path) -> Samples:
        """The samples (n, …) of such a folder, mapped and read-only. Raises UserError where they are missing or damaged."""
        ...

    def content_id(self, sample: Any, /) -> str:
        """The sha256 (hex) of one stored sample's content. It is what the ledger owns answers by: it must never change."""
        ...

    def to_file(self, sample: Any) -> bytes:
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

    def size(self, facts: Facts, times: str = "x") -> str:
        """How large samples are, in words; `times` stands between the lengths of axes."""
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

    def replay(self, sample: Any, view: np.ndarray, /) -> Any:
        """What the view (5,) shows of a sample, as a stored sample; zeros are the sample as it is."""
        ...

    def mix(self, one: Samples, other: Samples, share: np.ndarray) -> Samples:
        """Stored samples (m, …) that are share (m,) of `one` and the rest of `other`. Raises UserError where there is no such sample."""
        ...

    # Training and serving

    def own(self, samples: Samples, tokens: str, settings: Reading) -> dict[str, Any]:
        """What a model brings along to read such samples, made of the pool (N, …): of texts what their tokens are, of which kind `tokens`
        says (`tuition.models.TOKENS`). Keys of `DESCRIBED`, part of the model's description."""
        ...

    def numbers(self, samples: Samples, facts: Facts) -> np.ndarray:
        """Stored samples (n, …) as an array that a device can hold: what `preprocessing` takes. `facts`: a model's description."""
        ...

    def place(self, samples: Samples, device: torch.device, facts: Facts, augmentation: Augmentation | None) -> Placed:
        """Samples (n, …) on the device, normalised as facts say. None: nothing is left to chance."""
        ...

    def preprocessing(self, facts: Facts) -> nn.Module:
        """What `numbers` gives (B, …) → what a network takes, by `DESCRIBED` and, where it is there, `resize`.

        It can be traced (torch.export).
        """
        ...

    def receiver(self) -> Path:
        """The file of a module that a registered student takes along, so it imports nothing of this project.

        Its `stored(given, shape)` makes stored samples (n, …) of what a client sends, or of the column `COLUMN` of a table; ValueError
        where that is none. Its `numbers(samples, facts)` is that of this kind; `facts`: what `own` gave.
        """
        ...

    def arranged(self, inputs: Tensor) -> Tensor:
        """What `preprocessing` gave, in the memory order that networks are quickest on."""
        ...

    # Teachers

    def handed(self, samples: Samples) -> Any:
        """Samples (B, …) as a function or class of the user's own is given them, and as MLflow keeps examples of them."""
        ...

    def resized(self, sample: Any, side: int, /) -> Any:
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

    def chat_part(self, sample: Any, settings: Preprocessing, detail: str | None) -> dict[str, Any]:
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

    def shown(self, sample: Any) -> dict[str, str]:
        """One sample as a reader can look at it: `picture`, a PNG in base64, or `text`; "" where it is too large."""
        ...
