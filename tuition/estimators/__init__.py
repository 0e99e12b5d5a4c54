"""What a teacher would say of samples that were not bought, from features that cost nothing and the answers that were. Asks no teacher,
and knows neither files nor the ledger.

    fitted = fit("ridge", Bought(features, positions, logits))    # fitted.held_out (n, C): each row estimated without its own answer
    logits = fitted.estimate(rows)                                # (B, C), of any samples of the pool
"""

from tuition.errors import unknown
from tuition.estimators import auto, knn, logistic, propagation, ridge
from tuition.estimators.protocol import Bought, Fitted, check

__all__ = ["ESTIMATORS", "Bought", "Fitted", "fit"]

ESTIMATORS = {
    "ridge": ridge.fit,
    "logistic": logistic.fit,
    "knn": knn.fit,
    "propagation": propagation.fit,
    "auto": auto.fit,
}


def fit(name: str, bought: Bought) -> Fitted:
    """The estimator `name` on what was bought. Raises UserError for a name that there is not, and as `protocol.check`."""
    if name not in ESTIMATORS:
        raise unknown("estimate.estimator", name, ESTIMATORS)
    check(bought)
    return ESTIMATORS[name](bought)
