"""What more calls would buy: a power law through the accuracies that a method has reached, and how sure it is. Numbers only, in float64.

Errors of learning fall about as a power of the samples (Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically"):
log error = a − b · log calls. Seen from three budgets or more; from fewer, nothing is said of the curve's shape. What the law itself
misses stands in the interval: the residuals of the budgets, and no less than the spread between seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, sqrt

import numpy as np

BUDGETS = 3  # the fewest that can contradict a law of two parameters
LEVEL = 0.80  # of a forecast: wide as it is, it does not know whether the law goes on


@dataclass(frozen=True)
class Forecast:
    calls: int
    top1: float
    low: float
    high: float


def forecast(points: Sequence[tuple[int, Sequence[float]]], calls: Sequence[int], samples: int) -> list[Forecast]:
    """The accuracy at each of `calls`, with an 80 % interval, from `points` (calls, accuracies of seeds); [] where it can't be told.

    `samples` is the size of the test split: an error of nothing is taken as half a sample. Ordinary least squares on logarithms,
    one point a budget; Student's t of budgets − 2 degrees of freedom, for a new budget's mean.
    A curve may also stop where it is: the lower end is no higher than what the last budget, repeated, could give.
    """
    from scipy.special import stdtrit

    if len({n for n, _ in points}) < BUDGETS or min(n for n, _ in points) < 1:
        return []
    floor = 0.5 / max(samples, 1)
    errors = [np.log([max(1 - value, floor) for value in values]) for _, values in points]
    x, y = np.log([n for n, _ in points]), np.array([float(one.mean()) for one in errors])
    centre, spread = float(x.mean()), float(np.square(x - x.mean()).sum())
    slope = min(float(((x - centre) * y).sum() / spread), 0.0)  # more calls are not expected to harm
    level = float(y.mean())
    left = y - level - slope * (x - centre)
    freedom = len(x) - 2
    within = [float(one.var(ddof=1)) / len(one) for one in errors if len(one) > 1]
    variance = max(float(np.square(left).sum()) / freedom, float(np.mean(within)) if within else 0.0)
    t = float(stdtrit(freedom, 0.5 + LEVEL / 2))
    found = []
    for n in calls:
        far = log(n) - centre
        middle, half = level + slope * far, t * sqrt(variance * (1 + 1 / len(x) + far * far / spread))
        worst = max(middle + half, float(y[-1]) + t * sqrt(variance))
        ends = (1 - min(exp(end), 1.0) for end in (worst, middle - half))
        found.append(Forecast(n, 1 - min(exp(middle), 1.0), *ends))
    return found
