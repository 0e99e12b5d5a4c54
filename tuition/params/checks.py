"""What `params.yaml` must fulfil beyond keys and types: names that are listed elsewhere, and sections that go together."""

import os
import re
from pathlib import Path

from tuition.errors import UserError, unknown
from tuition.params import Params, student_training
from tuition.params.language import check_language
from tuition.params.places import watched
from tuition.params.retrieval import check_task
from tuition.params.teacher import CheckpointSettings, ExpertsSettings, Network, TeacherSettings
from tuition.params.texts import check_texts
from tuition.signals import MAIN
from tuition.workspace import PURCHASED, given

SAME = "answers the same each time it is asked: set 1"
ONCE = {  # kinds that are asked once for each sample, and what to do instead
    "checkpoint": f"a network in this process {SAME}. Several networks go into `teachers`",
    "experts": f"a network in this process {SAME}. The mean of all experts is teacher.choose: mean",
    "sentence": f"an encoder in this process {SAME}",
    "table": "a table has one answer a sample: set 1. Where you have several, write each class's share of them, with teacher.answers: "
    "probabilities",
    "mlflow": f"a served model {SAME}. Where yours draws its answers, ask it with kind http or python",
    "oip": f"a served model {SAME}. Where yours draws its answers, ask it with kind http or python",
}
OF_THE_POOL = {"experts": "whose difficulty is known", "table": "which it has rows for"}  # kinds, and why


def check(params: Params, path: Path) -> None:
    """Raises UserError naming the key of `params`, read from `path`, with what was found and what is valid."""
    check_task(params, str(path))
    check_language(params, str(path))
    check_texts(params, str(path))
    _check_methods(params, path)
    _check_teacher(params.teacher, f"{path}: teacher")
    _check_further(params, path)
    if params.estimate.estimator != "none" and params.encode.source == "none":
        raise UserError(
            f"{path}: estimate.estimator: found {params.estimate.estimator!r}, which reads features, but encode.source is 'none'; "
            "name a source of features, such as pixels, or set estimate.estimator: none"
        )
    _check_rest(params, path)
    for key, place in watched(params).items():
        if place.startswith("~"):
            raise UserError(
                f"{path}: {key}: found {place!r}, but DVC, which looks there for changes, knows no `~`; write {str(given(place))!r}"
            )
    if os.path.relpath(params.data.watch) == os.path.relpath(params.data.watch_evaluation):
        raise UserError(
            f"{path}: data.watch_evaluation: found {params.data.watch_evaluation!r}, which data.watch names already; "
            "leave it out"
        )
    for key, section in (("pretrain", params.pretrain), ("train", params.train)):
        if section.devices > section.batch_size:
            raise UserError(
                f"{path}: {key}.devices: found {section.devices}, but {key}.batch_size is {section.batch_size}: each process takes a "
                f"share of every batch; valid: 1 to {section.batch_size}"
            )
    _check_mixed(params, path)
    for key, other in (("mixed", params.teach.mixed), ("views", params.teach.views > 1)):
        kinds = {one.kind for one in (params.teacher, *params.teachers)}
        for kind, why in OF_THE_POOL.items():
            if other and kind in kinds:
                raise UserError(
                    f"{path}: teach.{key}: {str(getattr(params.teach, key)).lower()}, but teacher.kind {kind!r} answers samples of the "
                    f"pool alone, {why}"
                )


def _check_mixed(params: Params, path: Path) -> None:
    """Mixed inputs are half as many as samples, counted in calls."""
    asked_often = next((one for one in (params.teacher, *params.teachers) if one.samples > 1), None)
    if params.teach.mixed and asked_often:
        raise UserError(
            f"{path}: teach.mixed: true, but teacher.samples is {asked_often.samples}; mixed inputs are asked for once: set one back"
        )


def _check_methods(params: Params, path: Path) -> None:
    """Methods and the student's architecture (both lists are free of torch)."""
    from tuition.methods import BUILT_IN, resolve
    from tuition.models import check_arch

    for method in params.study.methods:
        resolve(method, params.methods.get(method))
        if method not in params.methods:
            raise UserError(
                f"{path}: methods.{method}: no such section, but study.methods lists it; add `{method}: {{}}`"
            )
    for name, section in params.methods.items():
        if resolve(name, section).method and re.search(r"[^a-zA-Z0-9+_-]", name):
            raise UserError(f"{path}: methods.{name}: a name is made of letters, digits, +, - and _: it names folders")
    for name in params.compare.sets:
        if name not in BUILT_IN and name not in params.methods:
            raise unknown(f"{path}: compare.sets", name, {*BUILT_IN, *params.methods})
    if params.data.task != "generate":  # `check_language` knows those that write
        check_arch(f"{path}: student.arch", params.student.arch, params.data.inputs)


def _check_rest(params: Params, path: Path) -> None:
    """Raises UserError where a method of the study learns from estimates, and none are made."""
    if params.estimate.estimator != "none":
        return
    for name in params.study.methods:
        if (rest := student_training(params, name).rest) in ("estimated", "both"):
            key = f"methods.{name}.rest" if (params.methods[name] or {}).get("rest") else "train.rest"
            raise UserError(
                f"{path}: {key}: found {rest!r}, which reads estimates, but estimate.estimator is 'none'; set one, such as auto, and "
                f"encode.source, such as pixels; or set {key}: none"
            )


def _check_teacher(teacher: TeacherSettings, where: str) -> None:
    """A teacher's signals and architectures; `where` names its section."""
    from tuition.models import check_arch
    from tuition.signals import FAMILIES

    if isinstance(teacher, CheckpointSettings):
        for name in teacher.signals:
            if name not in FAMILIES:
                raise unknown(f"{where}.signals", name, FAMILIES)
        check_arch(f"{where}.arch", teacher.arch)
    if teacher.samples > 1 and (instead := ONCE.get(teacher.kind)):
        raise UserError(f"{where}.samples: found {teacher.samples}, but {instead}")
    if teacher.samples > 1 and teacher.recheck.every is not None:
        raise UserError(
            f"{where}.samples: found {teacher.samples}, and teacher.recheck.every {teacher.recheck.every}; a teacher whose answers differ "
            "each time would seem to drift: set teacher.recheck.every: null"
        )
    if isinstance(teacher, ExpertsSettings):
        for place, network in enumerate(_networks(teacher)):
            name = f"experts[{place}]" if place < len(teacher.experts) else "free"
            check_arch(f"{where}.{name}.arch", network.arch)


def _networks(teacher: ExpertsSettings) -> list[Network]:
    return [*teacher.experts, *([teacher.free] if teacher.free else [])]


def _check_further(params: Params, path: Path) -> None:
    """The teachers of `teachers`: their names, which name folders, and whose weights they are."""
    taken = {MAIN: f"stands for the section `{MAIN}`", params.teacher.name.casefold(): "is the name of `teacher`"}
    for place, one in enumerate(params.teachers):
        where = f"{path}: teachers.{place}"
        if not re.fullmatch(r"[a-zA-Z0-9_-]+", one.name):
            raise UserError(
                f"{where}.name: found {one.name!r}; a name is made of letters, digits, - and _: it names a folder"
            )
        if why := taken.get(one.name.casefold()):
            raise UserError(
                f"{where}.name: {one.name!r} {why}; give each of teachers a name of its own"
                + ("" if "name" in one.model_fields_set else " (it has none)")
            )
        taken[one.name.casefold()] = f"is the name of teachers.{place}, too"
        _check_teacher(one, where)
        if isinstance(one, CheckpointSettings):
            _check_weights(one.weights, f"{where}.weights")
        for network in _networks(one) if isinstance(one, ExpertsSettings) else []:
            _check_weights(network.weights, f"{where}.experts")


def _check_weights(weights: str, where: str) -> None:
    """Weights are a file of the user's: what stages make later than `teach`, or of the one teacher, cannot be asked by it."""
    first = Path(os.path.relpath(weights)).parts[:1]
    if first == (MAIN,):
        raise UserError(
            f"{where}: found {weights!r}, which the pretrain stage makes for `teacher`; name a file of weights"
        )
    if first and first[0] in PURCHASED:
        raise UserError(
            f"{where}: found {weights!r}, but {first[0]}/ is made of what teach buys, which cannot depend on it; copy it out and name "
            "the copy"
        )
