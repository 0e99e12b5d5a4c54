"""What a function or a format of the user's own gives, in the form that `teacher.answers` says, as signals."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tuition.errors import UserError
from tuition.params.teacher import Form
from tuition.targets import answers, embeddings
from tuition.targets.answers import Classes, Faults
from tuition.targets.classes import as_logits
from tuition.teachers.protocol import Reply

SIGNAL = {"logits": "logits", "probabilities": "logits", "labels": "label", "top-k": "logits", "embedding": "embedding"}
READ = {"labels": answers.labels, "top-k": answers.top_k}


def signals_of(where: str, form: Form, named: Sequence[str] | None) -> Sequence[str]:
    """The signals of a teacher with answers of this form, which may say itself what it gives besides.

    Raises UserError, which begins with `where`, where what it says leaves out what `teacher.answers` promises.
    """
    if named is None:
        return (SIGNAL[form],)
    if isinstance(named, Sequence) and form in READ and SIGNAL[form] not in named:
        raise UserError(f"{where}: signals: found {named!r}; with teacher.answers: {form} they hold {SIGNAL[form]!r}")
    return named


def as_reply(given: Mapping[str, Any], form: Form, count: int, classes: Classes) -> Reply:
    """What was given of `count` samples, {name: rows}, as a reply: the entry with the form's name (or its signal's) becomes its signal."""
    said = dict(given)
    if form == "probabilities" and form not in said and "logits" in said:
        said[form] = said.pop("logits")
    if form == "logits" or form not in said:  # signals as they are stored
        return Reply(said)
    rows, faults = said.pop(form), Faults()
    try:
        if form == "embedding":
            said["embedding"] = embeddings.rows(rows, count)
        elif form in READ:
            said[SIGNAL[form]], faults = READ[form](rows, count, classes)
        else:
            said["logits"] = as_logits(rows, form)
    except (ValueError, TypeError) as error:  # NoAnswer, or what is no array of numbers
        return Reply(malformed=f"{form}: {error}", raw=_text(rows))
    listed = list(rows) if faults else []
    return Reply(said, faults={place: (f"{form}: {why}", _text(listed[place])) for place, why in faults.items()})


def _text(said: object) -> bytes:
    """What was said, for inspection."""
    plain = said.tolist() if isinstance(said, np.ndarray | np.generic) else said
    return repr(plain)[:100_000].encode(errors="replace")
