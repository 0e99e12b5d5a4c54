"""The methods: one file each, named as the method is in `params.yaml`, with underscores for hyphens. Knows no files and no parameters.

What a method of your own needs is here: `from tuition.methods import Batch, Card, Context` (see docs/your_method.md).
`protocol` says what a method is and what it is given, `registry` finds it by its name, `objective` adds plain cross-entropy, and
knowledge distillation where the name ends in `+kd`. What is registered on a method trains, and resumes, with the student.
This module imports no torch, so that names can be checked cheaply.
"""

from tuition.methods.protocol import Batch, Card, Context, Method
from tuition.methods.registry import (
    BUILT_IN,
    BY_TASK,
    METHODS,
    RETRIEVAL,
    Spec,
    build,
    card,
    check_settings,
    load_class,
    method_file,
    module_name,
    resolve,
)

__all__ = [
    "BUILT_IN",
    "BY_TASK",
    "METHODS",
    "RETRIEVAL",
    "Batch",
    "Card",
    "Context",
    "Method",
    "Spec",
    "build",
    "card",
    "check_settings",
    "load_class",
    "method_file",
    "module_name",
    "resolve",
]
