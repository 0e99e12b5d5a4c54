"""The built-in methods, and the users' own: from a name in `params.yaml` and its section to an objective.

Names are resolved without torch. A section may be a variant, `methods.my-name: {method: ckd-mse, labels: none}`, or name a class of the
user's own, `methods.mine: {method: "mymethods:Mine"}`.
"""

from __future__ import annotations

import difflib
import inspect
import re
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, get_type_hints

from tuition.errors import UserError, unknown
from tuition.imports import import_class, source_file
from tuition.methods.protocol import LABEL_USES, REST_USES, RESTS, Card, Method
from tuition.ranges import NotNegative, Positive

if TYPE_CHECKING:
    from tuition.methods.objective import Objective

METHODS = {  # name: its class
    # no teacher
    "ce": "CrossEntropy",
    "label-smoothing": "LabelSmoothing",
    "tf-kd": "TeacherFreeKD",
    "dml": "DML",
    "one": "ONE",
    # the class that the teacher names
    "pseudo-label": "PseudoLabel",
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
    "pool-ckd": "PoolCKD",
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
    # consistency on samples that were not bought
    "fixmatch": "FixMatch",
    "uda": "UDA",
    # mixed and boundary inputs
    "mixup": "Mixup",
    "mixup3": "Mixup3",
    "cutmix": "CutMix",
    "mixkd": "MixKD",
    "mix-cached": "MixCached",
    "bss": "BSS",
}
RETRIEVAL = {  # of documents and queries (`retrieval.py`), likewise
    "embed-distill": "EmbedDistill",
    "embed-match": "EmbedMatch",
    "distill-kl": "DistillKL",
    "margin-mse": "MarginMSE",
}
LANGUAGE = {  # of language models (`language.py`), likewise
    "sft": "SFT",
    "seq-kd": "SeqKD",
    "token-kd": "TokenKD",
}
BY_TASK = {"classification": METHODS, "retrieval": RETRIEVAL, "generate": LANGUAGE}
BUILT_IN = METHODS | RETRIEVAL | LANGUAGE
PLUS_KD = "+kd"


class Spec(NamedTuple):
    """A method as a study names it: the key in METHODS, whether KD is added, and its section without the key `method`."""

    method: str
    kd: bool
    settings: dict[str, Any]


OWN = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")  # module:Class of the user's own


def resolve(name: str, section: dict[str, Any] | None) -> Spec:
    """The method that `name` stands for, given its section of `params.yaml`. Raises UserError listing the methods."""
    settings = dict(section or {})
    full = settings.pop("method", name)
    if not isinstance(full, str):
        raise UserError(f"params.yaml: methods.{name}.method: found {full!r}, expected the name of a method")
    method = full.removesuffix(PLUS_KD)
    if method not in BUILT_IN and not (is_own(method) and full != name):
        raise _no_method(name, full, section)
    if method in RETRIEVAL | LANGUAGE and full.endswith(PLUS_KD):
        raise UserError(f"params.yaml: methods.{name}: found {full!r}, but {PLUS_KD} is of classes; valid: {method!r}")
    if full == f"kd{PLUS_KD}":
        raise UserError(f"params.yaml: methods.{name}: {full!r} is kd twice; weigh kd by its own weight_kd")
    return Spec(method, full.endswith(PLUS_KD), settings)


def _no_method(name: str, full: str, section: dict[str, Any] | None) -> UserError:
    """The error that `full`, for which `name` with its section stands, is no method."""
    if full == name and section is not None:
        near = difflib.get_close_matches(name.removesuffix(PLUS_KD), BUILT_IN, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        return UserError(
            f"params.yaml: methods.{name}: {name!r} is not known, and its section lacks `method`, whose variant it would be.{guess} "
            f"Valid: {', '.join(sorted(BUILT_IN))}"
        )
    where = "study.methods" if full == name else f"params.yaml: methods.{name}.method"
    hint = (
        f"Each also with {PLUS_KD}, or a name of your own with a section `methods.<name>: {{method: …}}`, `{{method: …{PLUS_KD}}}`, "
        "`{method: 'module:Class'}`."
    )
    return unknown(where, full, BUILT_IN, hint)


def is_own(method: str) -> bool:
    """Whether `method` names a class of the user's own, as module:Class."""
    return OWN.fullmatch(method) is not None


def module_name(method: str) -> str:
    """The module of this package that holds a built-in method: its name with underscores."""
    return method.replace("-", "_")


def method_file(method: str) -> Path:
    """The file that holds a method. Raises UserError where a user's own module is not there; it is not imported for it."""
    if is_own(method):
        return source_file("params.yaml: methods", method)
    return Path(__file__).parent / f"{module_name(method)}.py"


def load_class(method: str) -> type[Method]:
    """The class of a method. Raises UserError listing the methods where the name is unknown, or where a user's own cannot be had."""
    if is_own(method):
        return _own_class(method)
    if method not in BUILT_IN:
        raise unknown("study.methods", method, BUILT_IN)
    module: ModuleType = import_module(f"tuition.methods.{module_name(method)}")
    return getattr(module, BUILT_IN[method])


def _own_class(method: str) -> type[Method]:
    from torch import nn

    found = import_class("params.yaml: methods", method)
    if not issubclass(found, nn.Module):
        raise UserError(
            f"params.yaml: methods: found {method!r}, expected a class that is an nn.Module (docs/your_method.md)"
        )
    for field in Card._fields:
        value, default = getattr(found, field, None), Card._field_defaults[field]
        if value is not None and not isinstance(value, (int, float) if isinstance(default, float) else type(default)):
            raise UserError(
                f"params.yaml: methods: {method}.{field}: found {value!r}, expected a {type(default).__name__}"
            )
    for key, valid in (("label_use", LABEL_USES), ("rest_use", REST_USES)):
        if (use := getattr(found, key, Card._field_defaults[key])) not in valid:
            raise unknown(f"params.yaml: methods: {method}.{key}", use, valid)
    return cast(type[Method], found)


def card(method: str) -> Card:
    """What a method says of itself."""
    kind = load_class(method)
    return Card(**{field: getattr(kind, field) for field in Card._fields if hasattr(kind, field)})


def settings_of(kind: type[Method]) -> dict[str, inspect.Parameter]:
    """The keyword settings of a method's class."""
    parameters = inspect.signature(kind).parameters.items()
    return {key: parameter for key, parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def check_settings(name: str, section: dict[str, Any] | None) -> Spec:
    """Check a method's section against its class. Raises UserError naming the key, the finding and what is valid."""
    spec = resolve(name, section)
    kind = load_class(spec.method)
    hints = get_type_hints(kind.__init__, include_extras=True)  # type: ignore[misc]
    valid = {key: hints.get(key, Any) for key in settings_of(kind)}
    if spec.kd and "weight_kd" in valid:
        raise UserError(
            f"params.yaml: methods.{name}: {spec.method!r} has a weight_kd of its own; it does not go with {PLUS_KD}"
        )
    valid |= _common(spec)
    checked = {}
    for key, value in spec.settings.items():
        if key not in valid:
            raise unknown(f"params.yaml: methods.{name}", key, [*valid, "method"])
        checked[key] = _checked(f"params.yaml: methods.{name}.{key}", valid[key], value)
    return spec._replace(settings=checked)


def _checked(where: str, annotation: Any, value: object) -> object:
    """`value` in the type that is annotated: 1 becomes 1.0. Raises UserError naming `where`."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True)).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{where}: found {value!r}. {error.errors()[0]['msg']}") from None


def _common(spec: Spec) -> dict[str, Any]:
    """Settings that are not the method's own: `rest`, the weight of cross-entropy where it is not the method's, and those of +kd."""
    if card(spec.method).task != "classification":  # there is no class to be learnt beside it
        return {}
    common: dict[str, Any] = {"rest": Literal[*RESTS]}
    if card(spec.method).weight_ce:
        common["weight_ce"] = NotNegative
    return common | ({"weight_kd": NotNegative, "temperature_kd": Positive} if spec.kd else {})


def build(name: str, section: dict[str, Any] | None = None) -> Objective:
    """The objective that `name` and its section stand for (`tuition.methods.objective`), its settings checked.

    Its `signals` are the families of teacher signals that it reads with these settings.
    """
    from tuition.methods.objective import TEMPERATURE_KD, WEIGHT_KD, Objective

    spec = check_settings(name, section)
    about, own = card(spec.method), dict(spec.settings)
    rest = own.pop("rest", None)
    weights = {
        "weight_ce": own.pop("weight_ce", about.weight_ce),
        "weight_kd": own.pop("weight_kd", WEIGHT_KD) if spec.kd else 0.0,
        "temperature_kd": own.pop("temperature_kd", TEMPERATURE_KD),
    }
    return Objective(load_class(spec.method)(**own), maps=about.maps, inside=about.inside, rest=rest, **weights)
