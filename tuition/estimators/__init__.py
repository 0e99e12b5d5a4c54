"""What a teacher would say of samples that were not bought, from features that cost nothing and the answers that were. Asks no teacher,
and knows neither files nor the ledger.

    held = fit("ridge", Bought(features, logits))    # held.held_out: (n, C), each row estimated without its own answer
    logits = held.estimate(other_features)           # (B, C)
"""

from tuition.errors import unknown
from tuition.estimators import knn, logistic, ridge
from tuition.estimators.protocol import Bought, Fitted

__all__ = ["ESTIMATORS", "Bought", "Fitted", "fit"]

ESTIMATORS = {"ridge": ridge.fit, "logistic": logistic.fit, "knn": knn.fit}


def fit(name: str, bought: Bought) -> Fitted:
    """The estimator `name` on what was bought. Raises UserError for a name that there is not, and for features that cannot be used."""
    if name not in ESTIMATORS:
        raise unknown("estimate.estimator", name, ESTIMATORS)
    return ESTIMATORS[name](bought)
