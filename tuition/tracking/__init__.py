"""MLflow, brought in line with the files of a study: a parent run a study, a nested run a cell.

The files are the truth and MLflow follows them, so a stage that DVC restored from its cache is not missing there.
Importing this package imports no MLflow: that costs seconds, and a machine that only trains may not have it.
It knows no registry, no teacher and no model: a cell is what its files say.
"""

from tuition.tracking.address import check_store
from tuition.tracking.live import Live
from tuition.tracking.sync import reconcile

__all__ = ["Live", "check_store", "reconcile"]
