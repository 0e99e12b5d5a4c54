"""`uncertain`: first what a present student is least sure of, by the margin between its two largest probabilities (Scheffer et al. 2001).

The student is asked, never the teacher. A margin is of one student and one sample, so samples keep their order among each other
when the pool grows. It is computed in float64: between machines and numbers of threads it differs in the last digits alone, and a
smaller budget is then a prefix of a larger one that was ordered elsewhere.
"""

from collections.abc import Sequence

import numpy as np

from tuition.errors import UserError
from tuition.inputs.kinds import inputs_of
from tuition.models.description import ModelDescription
from tuition.selection.pool import Pool
from tuition.workspace import given

BATCH = 256
FILES = ("weights.safetensors", "student.json")


def order(pool: Pool, limit: int, guide: str | None) -> np.ndarray:
    """All places, by ascending margin; equal margins go by place."""
    assert guide is not None
    return np.argsort(margins(pool, guide), kind="stable")


def margins(pool: Pool, guide: str) -> np.ndarray:
    """(n,) float64 in 0..1, of the student in the folder `guide`.

    Raises UserError where there is no student, it is of other samples or classes, or its answers are not finite.
    """
    import torch

    from tuition.models import load_student

    where, folder = f"teach.student: {guide}", given(guide)
    for name in FILES:
        if not (folder / name).is_file():
            raise UserError(
                f"{where}: no {name} there; valid: a folder with {' and '.join(FILES)}, such as a copy of students/400-kd-0"
            )
    model, student = load_student(folder)
    _check_fit(where, student, pool)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model.double().to(device)
    kind = inputs_of(student)
    preprocessing = kind.preprocessing(student).to(device)
    found = np.empty(len(pool))
    with torch.inference_mode():
        for number, batch in enumerate(pool.batches(BATCH)):
            inputs = preprocessing(torch.from_numpy(kind.numbers(batch, student)).to(device))
            top = model(inputs.double() if inputs.is_floating_point() else inputs).softmax(dim=1).topk(2).values
            found[number * BATCH : number * BATCH + len(batch)] = (top[:, 0] - top[:, 1]).cpu().numpy()
    if not np.isfinite(found).all():
        raise UserError(f"{where}: its answers are not finite: its training diverged; name another student")
    return found


def _check_fit(where: str, student: ModelDescription, pool: Pool) -> None:
    assert pool.samples is not None
    kind = inputs_of(student)
    if missing := [key for key in (*kind.DESCRIBED, "class_names") if key not in student]:
        raise UserError(f"{where}: student.json lacks {', '.join(missing)}; copy a student that this version trained")
    found, wanted = pool.samples.shape[1:], kind.shape(student)
    if found != wanted:
        raise UserError(f"{where}: it takes {kind.NAME} {wanted} ({kind.AXES}), but those of data/train are {found}")
    if list(student["class_names"]) != list(pool.classes):
        raise UserError(
            f"{where}: it tells {student['classes']} classes {_some(student['class_names'])}, but data has "
            f"{len(pool.classes)}: {_some(pool.classes)}"
        )


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(map(str, names[:6]))}{', …' if len(names) > 6 else ''}"
