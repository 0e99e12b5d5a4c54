"""The methods: one file each, named as the method is in `params.yaml`, with underscores for hyphens.

A method is an `nn.Module` with the class attributes of `Card` below, keyword settings in `__init__` (their annotations are what
`params.yaml` is checked against), and

    setup(facts)              optional: build heads and banks, once, before the first step (`tuition/methods/facts.py`)
    augment(batch) -> batch   optional: other images than the batch's, or more after the first B (`tuition/methods/batch.py`)
    wrap(student) -> student  optional: the student as it is deployed, where the method gives it another head
    forward(student, batch) -> {term: scalar}

`student` maps signal names to (B', …) float32. The loss is the sum of the terms; `tuition/methods/objective.py` adds plain
cross-entropy, and knowledge distillation where the name ends in `+kd`. What is registered on a method trains, and resumes, with the
student.

A section of `params.yaml` may be a variant: `methods.my-name: {method: ckd-mse, labels: none}`.
This module imports no torch, so that names can be checked cheaply.
"""

import difflib
import inspect
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

from tuition.errors import UserError, unknown
from tuition.methods.ranges import RULES, NotNegative, Positive

METHODS = {  # name: its class
    # no teacher
    "ce": "CrossEntropy",
    "label-smoothing": "LabelSmoothing",
    "tf-kd": "TeacherFreeKD",
    "dml": "DML",
    "one": "ONE",
    # logits
    "kd": "KD",
    "dkd": "DKD",
    "dist": "DIST",
    "lskd": "LSKD",
    "mse": "LogitMSE",
    "ofa": "OFA",
    "r2kd": "R2KD",
    "ces-kd": "CESKD",
    "multi-kd": "MultiKD",
    # comparisons
    "ckd-mse": "CKDMSE",
    "ckd-kl": "CKDKL",
    "ckd-fitnet": "CKDFitNet",
    "ckd-vid": "CKDVID",
    "ckd-cc": "CKDCC",
    # embeddings and their relations
    "icd": "ICD",
    "rrd": "RRD",
    "crd": "CRD",
    "rkd": "RKD",
    "sp": "SP",
    "cc": "CC",
    "pkt": "PKT",
    "pkt-h": "PKTH",
    # maps
    "fitnet": "FitNet",
    "at": "AT",
    "vid": "VID",
    "nst": "NST",
    "ft": "FT",
    "ab": "AB",
    "fsp": "FSP",
    "reviewkd": "ReviewKD",
    "simkd": "SimKD",
    "rtk-like": "RTKLike",
    # mixed and boundary inputs
    "mixup": "Mixup",
    "mixup3": "Mixup3",
    "cutmix": "CutMix",
    "mixkd": "MixKD",
    "mix-cached": "MixCached",
    "bss": "BSS",
}
PLUS_KD = "+kd"


class Spec(NamedTuple):
    """A method as a study names it: the key in METHODS, whether KD is added, and its section without the key `method`."""

    method: str
    kd: bool
    settings: dict[str, Any]


class Card(NamedTuple):
    """What a method's class says of itself."""

    source: str  # the paper
    evidence: str  # code: read in the authors' code; abs: only an abstract was readable; mem: common knowledge; ours
    signals: tuple[str, ...]  # families of teacher signals
    compares: bool = False  # needs comparisons
    maps: bool = False  # reads the student's stage maps
    weight_ce: float = 1.0  # of plain cross-entropy beside it; 0: it has a labels term of its own, or none
    views: str = "clean"  # or mixed: it also reads mixed inputs, each one a call
    online: bool = False  # calls the teacher while it trains
    calls: float = 1.0  # teacher calls a sample
    several: bool = False  # reads the answers of `teachers` too: as many calls more a sample, each


def resolve(name: str, section: dict[str, Any] | None) -> Spec:
    """The method that `name` stands for, given its section of `params.yaml`. Raises UserError listing the methods."""
    settings = dict(section or {})
    full = settings.pop("method", name)
    if not isinstance(full, str):
        raise UserError(f"params.yaml: methods.{name}.method: found {full!r}, expected the name of a method")
    method = full.removesuffix(PLUS_KD)
    if method not in METHODS and full == name and section is not None:
        near = difflib.get_close_matches(method, METHODS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise UserError(
            f"params.yaml: methods.{name}: {name!r} is not known, and its section lacks `method`, whose variant it would be.{guess} "
            f"Valid: {', '.join(sorted(METHODS))}"
        )
    if method not in METHODS:
        where = "study.methods" if full == name else f"params.yaml: methods.{name}.method"
        hint = f"Each also with {PLUS_KD}, or a name of your own with a section `methods.<name>: {{method: …}}`, `{{method: …{PLUS_KD}}}`."
        raise unknown(where, full, METHODS, hint)
    if full == f"kd{PLUS_KD}":
        raise UserError(f"params.yaml: methods.{name}: {full!r} is kd twice; weigh kd by its own weight_kd")
    return Spec(method, full.endswith(PLUS_KD), settings)


def module_name(method: str) -> str:
    """The module of this package that holds a method: its name with underscores."""
    return method.replace("-", "_")


def load_class(method: str) -> Any:
    """The class of a method. Raises UserError listing the methods where the name is unknown."""
    if method not in METHODS:
        raise unknown("study.methods", method, METHODS)
    return getattr(import_module(f"{__name__}.{module_name(method)}"), METHODS[method])


def card(method: str) -> Card:
    """What a method says of itself."""
    kind = load_class(method)
    return Card(**{field: getattr(kind, field) for field in Card._fields if hasattr(kind, field)})


def check_settings(name: str, section: dict[str, Any] | None) -> Spec:
    """Check a method's section against its class. Raises UserError naming the key, the finding and what is valid."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    spec = resolve(name, section)
    kind = load_class(spec.method)
    hints = get_type_hints(kind.__init__, include_extras=True) if kind.__init__ is not object.__init__ else {}
    valid = {key: hints[key] for key, one in inspect.signature(kind).parameters.items() if one.kind is one.KEYWORD_ONLY}
    if spec.kd and "weight_kd" in valid:
        raise UserError(
            f"params.yaml: methods.{name}: {spec.method!r} has a weight_kd of its own; it does not go with {PLUS_KD}"
        )
    valid |= _common(spec)
    checked = {}
    for key, value in spec.settings.items():
        if key not in valid:
            raise unknown(f"params.yaml: methods.{name}", key, [*valid, "method"])
        try:
            checked[key] = TypeAdapter(valid[key], config=ConfigDict(strict=True)).validate_python(
                value
            )  # 1 becomes 1.0
        except ValidationError as error:
            raise UserError(f"params.yaml: methods.{name}.{key}: found {value!r}. {error.errors()[0]['msg']}") from None
        for rule in getattr(valid[key], "__metadata__", ()):
            if not RULES[rule](value):
                raise UserError(f"params.yaml: methods.{name}.{key}: found {value!r}, expected a number that is {rule}")
    return spec._replace(settings=checked)


def _common(spec: Spec) -> dict[str, Any]:
    """Settings that are not the method's own: the weight of cross-entropy where it is not the method's, and those of +kd."""
    common: dict[str, Any] = {"weight_ce": NotNegative} if card(spec.method).weight_ce else {}
    return common | ({"weight_kd": NotNegative, "temperature_kd": Positive} if spec.kd else {})


def build(name: str, section: dict[str, Any] | None = None) -> Any:
    """The objective that `name` and its section stand for (`tuition.methods.objective.Objective`), its settings checked.

    Its `signals` are the families of teacher signals that it reads with these settings.
    """
    from tuition.methods.objective import TEMPERATURE_KD, WEIGHT_KD, Objective

    spec = check_settings(name, section)
    about, own = card(spec.method), dict(spec.settings)
    weights = {
        "weight_ce": own.pop("weight_ce", about.weight_ce),
        "weight_kd": own.pop("weight_kd", WEIGHT_KD) if spec.kd else 0.0,
        "temperature_kd": own.pop("temperature_kd", TEMPERATURE_KD),
    }
    return Objective(load_class(spec.method)(**own), maps=about.maps, **weights)
