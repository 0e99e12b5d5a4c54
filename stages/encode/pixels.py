"""`pixels`: the samples themselves, less their mean, in units of their deviation, as at most 256 principal components.

The components are those of the training samples, exact: eigenvectors of the covariance, which is summed in one pass. So memory does
not grow with the number of samples, and nothing is drawn. All numbers of a sample share one unit, so one deviation scales them all:
by each one's own, corners where few images have any ink would count most.
"""

from typing import Any

import numpy as np

from stages.encode.encoding import Encoder, Pools
from tuition.inputs.kinds import inputs_of
from tuition.inputs.protocol import Inputs

DIMENSIONS = 256
LARGEST = 3072  # numbers of a sample; larger ones are averaged first, as `Inputs.features` does
CHUNK = 4096  # samples at a time


def open_pixels(facts: dict[str, Any], pools: Pools) -> Encoder:
    """The principal components of the training samples, those of the largest variance first."""
    inputs, train = inputs_of(facts), pools["train"]
    mean, covariance = _moments(inputs, train)
    values, axes = np.linalg.eigh(covariance)  # by ascending variance
    axes = axes[:, ::-1][:, :DIMENSIONS]
    # An axis may point either way: the sign of its largest number settles which.
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    deviation = float(np.sqrt(values.mean()))
    axes = axes / (deviation if deviation > 0 else 1.0)

    def encode(split: str, rows: np.ndarray) -> np.ndarray:
        return (_flat(inputs, pools[split][rows]) - mean) @ axes

    return Encoder("pixels", axes.shape[1], encode)


def _moments(inputs: Inputs, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean (d,) and the covariance (d, d) of samples, float64."""
    shift = _flat(inputs, samples[:1])[0]  # so that little is lost where the mean is large against the deviation
    total, products = np.zeros(len(shift)), np.zeros((len(shift), len(shift)))
    for start in range(0, len(samples), CHUNK):
        part = _flat(inputs, samples[start : start + CHUNK]) - shift
        total += part.sum(axis=0)
        products += part.T @ part
    mean = total / len(samples)
    return shift + mean, products / len(samples) - np.outer(mean, mean)


def _flat(inputs: Inputs, samples: np.ndarray) -> np.ndarray:
    """(n, d) float64, d at most LARGEST where the kind of inputs has features so small."""
    if int(np.prod(samples.shape[1:])) > LARGEST:
        return inputs.features(samples)
    return samples.reshape(len(samples), -1).astype(np.float64)
