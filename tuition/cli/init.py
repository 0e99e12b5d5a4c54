"""`tuition init`: a short params.yaml for data and a teacher of one's own. Looks at both, and pays for nothing."""

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tuition.cli.console import explained
from tuition.errors import UserError, unknown
from tuition.params import FILE
from tuition.params.data import OF_RETRIEVAL, OF_TEXTS
from tuition.workspace import given

CANDIDATES = (  # the methods of a first study, as far as data and teacher permit
    *("ce", "kd", "ckd-mse", "pseudo-label"),
    *("embed-match", "distill-kl"),
)
SETS = {"ckd-mse": {"strategy": "in-batch", "k": 2}}
SOURCES_WITH_FILES = ("folder", "npz", "csv", "jsonl", "parquet", "hf", "beir")
ADDRESSED = ("mlflow", "oip", "openai", "http")  # kinds whose teacher stands behind a URL

Option = typer.Option


@explained
def init(
    data: Annotated[str | None, Option(help="As data.source: folder:photos, csv:table.csv, beir:collection, …")] = None,
    teacher: Annotated[
        str | None,
        Option(help="python:module:function, table:answers.csv, openai:https://…, sentence:FOLDER, …"),
    ] = None,
    name: Annotated[str | None, Option(help="Of the student in the model registry.")] = None,
    budgets: Annotated[str | None, Option(help="Teacher calls, such as 100,400.")] = None,
    evaluation: Annotated[str | None, Option(help="A small labelled source for validation and test.")] = None,
    answers: Annotated[
        str | None, Option(help="What the teacher gives: logits, probabilities, labels, top-k, embedding, …")
    ] = None,
    text: Annotated[
        str | None, Option(help="Samples are texts: the column of the table that holds them, or several: title,body.")
    ] = None,
    resize: Annotated[int | None, Option(help="Pixels a side that students see.")] = None,
    classes: Annotated[str | None, Option(help="Their names in order, where no labels name them: cat,dog.")] = None,
    seeds: Annotated[int, Option(help="How many students of each kind.")] = 2,
    set_: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="Any other key: teacher.model=gpt-4o.")
    ] = None,
    force: Annotated[
        bool, Option("--force", help="Replace a params.yaml with changes that git does not hold.")
    ] = False,
) -> None:
    """Write a short params.yaml for data and a teacher of your own; asks for what is not given.

    Example: `tuition init --data folder:photos --teacher python:mine:scores --budgets 200 --resize 28 --name photos`
    """
    _check_replaceable(FILE, force)
    data = _asked("data", data, "Where are your samples (folder:<path>, csv:<file>, npz:<file>, …)?")
    teacher = _asked("teacher", teacher, "Who answers (python:<module>:<function>, table:<file>, openai:<url>, …)?")
    name = _asked("name", name, "What shall the student be called in the registry?", Path(data.partition(":")[2]).stem)
    budgets = _asked("budgets", budgets, "How many calls may it cost (one number, or several)?", "100,400")
    retrieves = data.partition(":")[0] in OF_RETRIEVAL
    sections: dict[str, Any] = {
        "study": {"budgets": _numbers(budgets), "methods": [], "seeds": list(range(seeds))},
        "data": _data(data, evaluation, resize, classes, text),
        "teacher": _teacher(teacher, answers),
        "teach": _teach(teacher) | ({"strategy": "pairs"} if retrieves else {}),
        "estimate": {},
        "compare": {},
        "methods": {},
        "register": {"name": name},
    } | (_of_texts() if text or data in OF_TEXTS or retrieves else {})
    if retrieves:
        sections["student"] = {"arch": "ngram"}
    for one in set_ or []:
        _set(sections, one)
    typer.echo(write(sections, FILE))


def write(sections: dict[str, Any], path: Path) -> str:
    """Look at the data and the teacher of `sections`, choose the methods that they permit, and write `path`; returns what was found.

    Raises UserError, and leaves `path` as it was, where one of them cannot be used.
    """
    from tuition import params as parameters
    from tuition.cli.check import look, permitted
    from tuition.cli.facts import read_facts
    from tuition.teachers.shown import fitting

    new = path.with_name(f".{path.name}.new")
    chosen = sections["study"]["methods"]
    some = chosen or ["kd"]  # of which nothing is asked yet
    try:
        _write(new, sections, some)
        first = parameters.load(new)
        facts = read_facts(first, []).facts
        sections["teacher"] |= fitting(first.teacher, facts)
        _write(new, sections, some)
        first = parameters.load(new)
        names = chosen or permitted(first, facts, CANDIDATES)
        _write(new, sections, names)
        params = parameters.load(new)
    except UserError as error:
        raise UserError(str(error).replace(str(new), str(path))) from None
    finally:
        text = new.read_text(encoding="utf-8") if new.is_file() else ""
        new.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    found = look(params)
    lines = [
        f"{path}: {len(params.study.cells())} cells: budgets {params.study.budgets}, methods {names}, seeds {params.study.seeds}"
    ]
    lines += found.notes
    lines += [f"to do: {one}" for one in found.errors]
    lines.append("`tuition check` looks again; `dvc repro` runs it. `tuition params` prints every key")
    return "\n".join(lines)


def _write(path: Path, sections: dict[str, Any], names: list[str]) -> None:
    from tuition.params.written import short

    sections["study"]["methods"] = names
    sections["methods"] = {name: sections["methods"].get(name, {}) for name in names}
    sets = {name: one for name, one in SETS.items() if name in names}
    sections["compare"] |= {"sets": sets | sections["compare"].get("sets", {})} if sets else {}
    path.write_text(short(sections), encoding="utf-8")


def _check_replaceable(path: Path, force: bool) -> None:
    """Raises UserError where `path` holds changes that are nowhere else."""
    if force or not path.is_file():
        return
    clean = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", str(path)], capture_output=True)
    if clean.returncode:
        raise UserError(f"{path}: has changes that git does not hold; commit them, or give --force to replace the file")


def _asked(option: str, value: str | None, question: str, default: str | None = None) -> str:
    """The option's value, or the answer to a question at a terminal. Raises UserError where there is neither."""
    if value:
        return value
    if not sys.stdin.isatty():
        raise UserError(f"--{option}: missing. {question}")
    return str(typer.prompt(question, default=default))


def _numbers(text: str) -> list[int]:
    parts = [one for one in re.split(r"[,\s]+", text) if one]
    if not parts or not all(one.isdigit() and int(one) for one in parts):
        raise UserError(f"--budgets: found {text!r}; valid: numbers of calls from 1 on, such as 100,400")
    return sorted({int(one) for one in parts})


def _data(
    source: str, evaluation: str | None, resize: int | None, classes: str | None, text: str | None
) -> dict[str, Any]:
    from tuition.params.places import unwatched

    kind, _, place = source.partition(":")
    watch = str(given(place)) if kind in SOURCES_WITH_FILES and place else None
    apart = unwatched(evaluation, *([watch] if watch else []))
    section: dict[str, Any] = {
        "source": source,
        "columns": _columns(text) if text else None,
        "evaluation": evaluation,
        "resize": resize,
        "classes": [one.strip() for one in classes.split(",")] if classes else None,
        "watch": watch,
        "watch_evaluation": str(given(apart)) if apart else None,
    }
    return {key: value for key, value in section.items() if value is not None}


def _columns(text: str) -> dict[str, Any]:
    """The column of a table with texts, or several and the template that joins them."""
    if "," not in text:
        return {"text": text}
    names = [one.strip() for one in text.split(",")]
    return {"text": names, "template": "\n".join("{" + one + "}" for one in names)}


def _of_texts() -> dict[str, Any]:
    """A student of texts, and how it is trained: an embedding that learns from nothing wants each weight's step by its own gradients."""
    return {
        "student": {"arch": "text-cnn"},
        "train": {"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.01},
    }


def _teacher(spec: str, answers: str | None) -> dict[str, Any]:
    """The section of `--teacher`. Raises UserError for a kind that there is not."""
    from tuition.params.teacher import CUSTOM, KINDS

    kind, _, rest = spec.partition(":")
    section: dict[str, Any]
    if kind == "python":
        section = {"kind": kind, "name": rest.partition(":")[0], "function": rest}
    elif kind in ADDRESSED:
        section = {"kind": kind, "name": re.sub(r"\W+", "-", rest.partition("://")[2]).strip("-"), "url": rest}
    elif kind == "table":
        section = {"kind": kind, "name": Path(rest).stem, "path": rest}
    elif kind == "sentence":
        section = {"kind": kind, "name": Path(rest).name, "folder": rest}
    elif kind == "checkpoint":
        section = {"kind": kind, "name": Path(rest).stem, "weights": rest}
    elif re.fullmatch(r"[\w.]+:\w+", spec) and not difflib.get_close_matches(kind, KINDS, cutoff=0.8):
        section = {"kind": spec, "name": spec.partition(":")[2]}
    else:
        raise unknown(
            "--teacher", f"{kind}:…", [f"{one}:…" for one in KINDS if one not in (CUSTOM, "experts")] + [CUSTOM]
        )
    return section | ({"answers": answers} if answers else {})


def _teach(spec: str) -> dict[str, Any]:
    """What the pipeline looks at for changes: the file of a function or class of the user's, or of a table."""
    if spec.startswith("table:"):
        return {"watch": str(given(spec.removeprefix("table:")))}
    module = spec.removeprefix("python:").partition(":")[0]
    file = Path(*module.split(".")).with_suffix(".py")
    return {"watch": os.path.relpath(file)} if file.is_file() else {}


def _set(sections: dict[str, Any], text: str) -> None:
    from tuition.params.edits import parser

    key, equals, value = text.partition("=")
    keys = key.split(".")
    if not equals or len(keys) < 2:
        raise UserError(f"--set: found {text!r}; valid: section.key=value, such as train.steps=2000")
    place: Any = sections
    for one in keys[:-1]:
        place = place.setdefault(one, {})
    place[keys[-1]] = parser().load(value)
