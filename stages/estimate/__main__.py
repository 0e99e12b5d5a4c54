"""`python -m stages.estimate <budget>`: what the teacher would say of the samples that the budget did not buy. It costs no call.

With `estimate.estimator: none` it writes a `meta.json` that says so and reads nothing.
"""

import shutil
from functools import partial

from tuition import params as parameters
from tuition.errors import read_arguments, run
from tuition.estimates import NONE
from tuition.files import write_json
from tuition.workspace import Workspace


def main(argv: list[str]) -> None:
    (budget,) = read_arguments("stages.estimate", argv, budget=int)
    params, folder = parameters.load(), Workspace().estimates(budget)
    name, joined = params.estimate.estimator, None
    shutil.rmtree(folder.path, ignore_errors=True)
    if name == NONE:
        write_json(folder.meta, {"estimator": NONE})
        return
    from stages.estimate import reading, rest  # SciPy is for those who want estimates

    given = reading.read_given(budget)
    if params.estimate.students:
        from stages.estimate.students import with_students

        joined = partial(with_students, params, budget, name, bought=given.bought)
    meta = rest.write_estimates(name, given, folder, joined)
    write_json(folder.meta, meta)
    print(f"estimate {budget}: {rest.summary(meta)}")


if __name__ == "__main__":
    run(main)
