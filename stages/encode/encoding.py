"""What an encoder is: a function from rows of a split to vectors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tuition.inputs.protocol import Samples

Pools = Mapping[str, Samples]  # the samples (N, …) of train, val and test, as they are stored


@dataclass(frozen=True)
class Encoder:
    """`encode(split, rows)` gives (n, dimensions) numbers for rows (n,) of data/<split>; `sha256` of the file that it is, if any."""

    name: str
    dimensions: int
    encode: Callable[[str, np.ndarray], np.ndarray]
    sha256: str | None = None
