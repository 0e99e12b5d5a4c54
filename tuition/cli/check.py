"""`tuition check`: all that can be found to be wrong before a run, without paying; and one paid call, where it is asked for.

What is found does not end the search: each part is looked at as far as it stands by itself, so that one run names several mistakes.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tuition.cli.facts import Facts, Known, read_facts
from tuition.errors import UserError
from tuition.params import ComparisonSet, Params, Training
from tuition.params.teacher import CheckpointSettings, LanguageSettings, OpenAISettings, ServerSettings, TeacherSettings
from tuition.signals import MAIN
from tuition.workspace import Workspace

if TYPE_CHECKING:
    from tuition.preflight import Labelled
    from tuition.teachers.table.teacher import TableTeacher

T = TypeVar("T")
PATIENCE = 5.0  # seconds for a server to answer


@dataclass
class Findings:
    """What is wrong, each once, in the order in which it was found; `notes` say what was looked at."""

    errors: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def attempt(self, look: Callable[..., T], *args: Any) -> T | None:
        """What `look` returns; None, and its error among the findings, where it raises one that a user can mend."""
        try:
            return look(*args)
        except UserError as error:
            if str(error) not in self.errors:
                self.errors.append(str(error))
            return None


def look(params: Params) -> Findings:
    """Look at everything that `params` names. Nothing is paid, and nothing is written but the ledger where there is none."""
    from tuition.params.places import check_places
    from tuition.preflight import check_methods
    from tuition.purchase.account import check_price
    from tuition.tracking import check_store

    found = Findings()
    found.attempt(check_methods, params, params.teacher.offered)
    for settings in (params.teacher, *params.teachers):
        found.attempt(check_price, settings, isinstance(settings, OpenAISettings))  # of texts it may count tokens
        found.attempt(_check_key, settings)
    found.attempt(check_places, params)
    found.attempt(_check_repository)
    found.attempt(_check_ledger)
    found.attempt(check_store)
    found.attempt(_check_devices, params.train, "train")
    found.attempt(_check_devices, params.pretrain, "pretrain")
    found.attempt(_check_runner, params)
    if (known := found.attempt(read_facts, params, found.notes)) is not None:
        _look_with(params, known, found)
    return found


def _look_with(params: Params, known: Known, found: Findings) -> None:
    """What can be found once it is known what the data is."""
    from stages.teach.evaluation import check_evaluation
    from tuition.inputs.kinds import inputs_of
    from tuition.preflight import check_methods, check_shapes, check_student
    from tuition.preflight.documents import check_budget
    from tuition.purchase.account import check_price
    from tuition.teachers import InProcess
    from tuition.teachers.table.teacher import table_of

    facts = known.facts
    found.attempt(check_student, params, facts)
    for settings in (params.teacher, *params.teachers):
        found.attempt(_check_statistics, settings, facts)
    found.attempt(_check_budgets, params, facts)
    if "documents" in facts:
        found.attempt(check_budget, params, facts["documents"], min(params.study.budgets) - params.teach.evaluation)
    found.attempt(check_evaluation, params.teach, facts, min(params.study.budgets), params.teacher.samples)
    loaded = {one.name: found.attempt(_load, one, facts) for one in (params.teacher, *params.teachers)}
    main, labelled = loaded[params.teacher.name], labelled_of(params, facts)
    families = {
        one.name: one.offered if (there := loaded[one.name]) is None else there.families for one in params.teachers
    }
    offered = params.teacher.offered if main is None else main.families
    if main is not None and (table := table_of(main)) is not None:
        found.attempt(_check_answered, params, table)
    found.attempt(check_methods, params, offered, families, inputs_of(facts).NAME, labelled)
    found.attempt(_check_pretrained, params.teacher, labelled)
    if isinstance(params.teacher, CheckpointSettings) and isinstance(main, InProcess) and not found.errors:
        found.attempt(check_shapes, params, facts, main)
    for settings in (params.teacher, *params.teachers):
        if (one := loaded[settings.name]) is None:
            continue
        found.attempt(check_price, settings, one.counts_tokens)
        if (table := table_of(one)) is not None:
            found.notes += [f"teacher {settings.name!r}: {line}" for line in table.told()]
        if inputs_of(facts).NAME == "texts" and (cut := one.shortened(pool := known.pool())):
            found.notes.append(
                f"teacher {settings.name!r}: {cut:,} of the pool's {len(pool):,} texts are cut: they are longer than it is shown "
                "(teacher.max_text_tokens)"
            )
        if not isinstance(one, InProcess):
            found.attempt(_reach, one)
            found.notes.append(f"teacher {settings.name!r}: its server was asked whether it is there")


def _check_statistics(settings: TeacherSettings, facts: Facts) -> None:
    """Raises UserError where a teacher's mean or std is of another number of channels than the data's images have."""
    channels = facts.get("channels")
    for key in ("mean", "std"):
        values = getattr(settings, key, None)
        if values is not None and channels is not None and len(values) not in (1, channels):
            raise UserError(
                f"teacher {settings.name!r}: {key}: found {len(values)} values for images of {channels} channels; valid: 1 or {channels}"
            )


def _check_pretrained(settings: TeacherSettings, labelled: "Labelled") -> None:
    """Raises UserError where `pretrain` is to train the teacher, and has nothing to learn from."""
    if isinstance(settings, CheckpointSettings) and settings.weights == MAIN and not labelled.pool_known:
        raise UserError(
            f"teacher.weights: {MAIN!r} is a teacher that pretrain trains on labels, and no sample of the pool has one; name a file of "
            "weights, or another teacher.kind"
        )


def _check_key(settings: TeacherSettings) -> None:
    """Raises UserError where the variable that is to hold a server's key holds none."""
    if isinstance(settings, ServerSettings) and settings.api_key_env and not os.environ.get(settings.api_key_env):
        raise UserError(
            f"teacher.api_key_env: {settings.api_key_env}: no such variable in the environment, or an empty one; "
            f"`export {settings.api_key_env}=…` before you run, or set it to null where the server asks for no key"
        )


def _check_repository() -> None:
    """Raises UserError where DVC has nothing to work in."""
    here = Path.cwd()
    if not Workspace(here).dvc.is_dir():
        raise UserError(f"{here}: no .dvc folder; `tuition` runs in the repository's root, where `dvc init` was run")
    if not any((one / ".git").exists() for one in (here, *here.parents)):
        config = [Workspace(here).dvc / name for name in ("config", "config.local")]
        if not any("no_scm" in file.read_text(encoding="utf-8") for file in config if file.is_file()):
            raise UserError(
                f"{here}: no git repository, which DVC keeps to: `git init && git add . && git commit -m start` makes one"
            )


def _check_ledger() -> None:
    from tuition.ledger.database import open_ledger

    open_ledger().close()


def _check_devices(settings: Training, key: str) -> None:
    """Raises UserError for devices that are not there, and for a precision that they lack."""
    from tuition.training.processes import check

    check(settings, key)
    if settings.accelerator in ("cuda", "mps"):
        import torch

        there = torch.cuda.is_available() if settings.accelerator == "cuda" else torch.backends.mps.is_available()
        if not there:
            raise UserError(
                f"{key}.accelerator: {settings.accelerator}: this machine has none that PyTorch {torch.__version__} can use; "
                "valid here: auto, cpu"
            )


def _check_runner(params: Params) -> None:
    """Raises UserError where flows are to run on a cluster whose package is not installed."""
    from importlib.util import find_spec

    runner = params.flows.runner
    if runner != "threads" and find_spec(f"prefect_{runner}") is None:
        raise UserError(f"flows.runner: {runner}: not installed; `uv sync --extra {runner}` installs it")


def labelled_of(params: Params, facts: Facts) -> "Labelled":
    """How many samples have labels; of the bought ones, the pool's share of the smallest budget."""
    from tuition.preflight import Labelled

    pool, budget = facts["splits"]["train"], min(params.study.budgets) // params.teacher.samples
    known = (facts.get("labelled") or facts["splits"])["train"]
    return Labelled(-(-budget * known // pool), budget, known, pool)


def _check_budgets(params: Params, facts: Facts) -> None:
    """Raises UserError where a budget asks for more samples than there are, or for more than a bound leaves."""
    from tuition.purchase.repeats import repeats_of

    budget, pool, views = max(params.study.budgets), facts["splits"]["train"], params.teach.views
    repeats = repeats_of(params.teacher, budget, params.teach.strategy == "file")
    least, most = repeats.times, pool * views * repeats.times + repeats.twice
    apart = params.teach.evaluation  # calls for samples of val and test
    if budget - apart > most or min(params.study.budgets) < least:
        each = f", each in {views} views" if views > 1 else ""
        each += f", each asked for {least} times (teacher.samples)" if least > 1 else ""
        each += ", of which one is asked for twice" if repeats.twice else ""
        wrong = budget if budget - apart > most else min(params.study.budgets)
        raise UserError(
            f"study.budgets: found {wrong}, but the pool has {pool} samples{each}; valid: {least} to {most + apart}"
        )
    calls = budget + (budget // 2 if params.teach.mixed else 0)
    for settings in (params.teacher, *params.teachers):
        key, cap, money = f"{MAIN} {settings.name!r}", settings.cap, calls * settings.price.call
        if cap.calls is not None and cap.calls < calls:
            raise UserError(
                f"{key}: cap: {cap.calls} calls, but the largest of study.budgets takes {calls}; raise it, or lower the budget"
            )
        if cap.money is not None and money > cap.money:
            raise UserError(
                f"{key}: cap.money: {cap.money:g}, but {calls} calls at teacher.price {settings.price.call:g} come to {money:g}; "
                "raise it, or lower study.budgets"
            )


def _check_answered(params: Params, table: "TableTeacher") -> None:
    """Raises UserError where a budget asks for more than a table answers, as far as that is known."""
    answered, budget = table.answered(), max(params.study.budgets)
    if answered is not None and budget - params.teach.evaluation > answered:
        raise UserError(
            f"study.budgets: found {budget}, but {table.path} (teacher.path) answers {answered:,} samples of the pool; valid: 1 to "
            f"{answered + params.teach.evaluation}"
        )


def _load(settings: TeacherSettings, facts: Facts) -> Any:
    """The teacher; None where its weights are still to be made by `pretrain`."""
    from tuition.purchase.further import load_for

    to_come = settings.weights == MAIN and not Workspace().teacher.weights.is_file()
    if isinstance(settings, CheckpointSettings | LanguageSettings) and to_come:
        return None
    return load_for(settings, facts)


def _reach(teacher: Any) -> None:
    """Ask a server what it answers free of charge. Raises UserError where it does not."""
    teacher.settings = teacher.settings.model_copy(update={"patience": PATIENCE})

    async def reach() -> None:
        async with teacher:
            pass

    asyncio.run(reach())


def permitted(params: Params, facts: Facts, candidates: Sequence[str]) -> list[str]:
    """Which of `candidates` the data and the teacher of `params` permit, whatever its own methods are.

    Raises UserError where the teacher cannot be loaded, and where none is permitted.
    """
    from tuition.inputs.kinds import inputs_of
    from tuition.methods import BUILT_IN
    from tuition.preflight import check_methods

    teacher = _load(params.teacher, facts)
    offered = teacher.families if teacher is not None else params.teacher.offered
    fits, why = [], ""
    for name in (one for one in candidates if one in BUILT_IN):
        study = params.study.model_copy(update={"methods": [name]})
        sets = ({name: ComparisonSet()} if params.data.task == "classification" else {}) | params.compare.sets
        compare = params.compare.model_copy(update={"sets": sets})
        try:
            tried = params.model_copy(update={"study": study, "methods": {name: {}}, "compare": compare})
            check_methods(tried, offered, inputs=inputs_of(facts).NAME, labelled=labelled_of(params, facts))
            fits.append(name)
        except UserError as error:
            why = why or str(error)
    if not fits:
        raise UserError(f"none of {', '.join(candidates)} fits: {why}")
    return fits
