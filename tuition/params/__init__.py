"""`params.yaml`: its schema, and how it is loaded, checked and edited. Knows nothing of what stages do with it; imports no torch."""

from tuition.params.identity import identity
from tuition.params.load import FILE, load
from tuition.params.schema import (
    Additions,
    Columns,
    Compare,
    ComparisonSet,
    Data,
    Evaluate,
    Flows,
    Guard,
    Params,
    Pretrain,
    Refresh,
    Register,
    Student,
    Study,
    Teach,
    Training,
    Transfer,
    comparison_set,
)

__all__ = [
    "FILE",
    "Additions",
    "Columns",
    "Compare",
    "ComparisonSet",
    "Data",
    "Evaluate",
    "Flows",
    "Guard",
    "Params",
    "Pretrain",
    "Refresh",
    "Register",
    "Student",
    "Study",
    "Teach",
    "Training",
    "Transfer",
    "comparison_set",
    "identity",
    "load",
]
