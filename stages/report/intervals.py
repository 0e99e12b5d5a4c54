"""One spread for a whole study, and the intervals that it gives: accuracies on the logit scale, so that no end leaves 0…100 %.

Two seeds say next to nothing about their own spread (the t quantile of one degree of freedom is 12.7). All cells together do: the
deviations of every budget and method from their own mean are pooled, as in an analysis of variance. Knows numbers only, in float64.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log, nan, sqrt

import numpy as np

LEVEL = 0.95
EVEN = 1e-9  # a spread on the logit scale that is rounding alone


@dataclass(frozen=True)
class Spread:
    """The standard deviation between seeds on the logit scale, and its degrees of freedom; nan and 0 where it isn't known."""

    sd: float
    freedom: int


def logit(share: float, samples: int) -> float:
    """log(p / (1 − p)); shares of 0 and 1 are taken as half a sample away from there."""
    edge = 0.5 / max(samples, 1)
    inside = min(max(share, edge), 1 - edge)
    return log(inside / (1 - inside))


def pooled_spread(groups: Iterable[Sequence[float]], samples: int) -> Spread:
    """The spread of accuracies (shares of `samples`) about the means of their groups: √(Σ squares / Σ (n − 1)).

    nan where no group has two values, or none of them differ.
    """
    squares, freedom = 0.0, 0
    for values in groups:
        scaled = np.array([logit(value, samples) for value in values], dtype=np.float64)
        if len(scaled) > 1:
            squares += float(np.square(scaled - scaled.mean()).sum())
            freedom += len(scaled) - 1
    sd = sqrt(squares / freedom) if freedom else nan
    return Spread(sd, freedom) if sd > EVEN else Spread(nan, 0)


def interval(values: Sequence[float], spread: Spread, samples: int) -> tuple[float, float, float]:
    """Mean of accuracies, and both ends of its 95 % interval within 0…1; nan ends where the spread isn't known.

    The mean's logit ± t · sd / √n, taken back: the interval holds the mean that is shown.
    """
    from scipy.special import stdtrit  # the quantile that scipy.stats.t uses, without that module's long import

    mean = float(np.mean(values))
    if not spread.freedom:
        return mean, nan, nan
    half = float(stdtrit(spread.freedom, 0.5 + LEVEL / 2)) * spread.sd / sqrt(len(values))
    centre = logit(mean, samples)
    low, high = (1 / (1 + exp(-(centre + sign * half))) for sign in (-1, 1))
    return mean, min(low, mean), max(high, mean)


def share_interval(count: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share count / n (1927); (nan, nan) of nothing."""
    if not n:
        return nan, nan
    z, p = 1.959963984540054, count / n
    centre, half = p + z * z / (2 * n), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
