"""`params.yaml`: its schema, and how it is loaded, checked and edited. Knows nothing of what stages do with it; imports no torch."""

from tuition.params.data import Additions, Columns, Data
from tuition.params.identity import identity
from tuition.params.load import FILE, load
from tuition.params.methods import REGIMES, comparison_set, regime, student_training
from tuition.params.schema import (
    BY_FEATURES,
    Compare,
    ComparisonSet,
    Encode,
    Estimate,
    Evaluate,
    Flows,
    Guard,
    Params,
    Pretrain,
    Refresh,
    Register,
    Student,
    StudentTraining,
    Study,
    Teach,
    Training,
    Transfer,
)

__all__ = [
    "BY_FEATURES",
    "FILE",
    "REGIMES",
    "Additions",
    "Columns",
    "Compare",
    "ComparisonSet",
    "Data",
    "Encode",
    "Estimate",
    "Evaluate",
    "Flows",
    "Guard",
    "Params",
    "Pretrain",
    "Refresh",
    "Register",
    "Student",
    "StudentTraining",
    "Study",
    "Teach",
    "Training",
    "Transfer",
    "comparison_set",
    "identity",
    "load",
    "regime",
    "student_training",
]
