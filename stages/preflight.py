"""What must hold before the first call is paid: every method of the study exists, is set up rightly, and can have its signals."""

from collections.abc import Collection

from stages.errors import UserError
from stages.params import Params


def check_methods(params: Params, offered: Collection[str]) -> None:
    """Raises UserError where a method of the study has a wrong setting, needs a signal that is not in `offered` (the teacher's), or
    compares without a comparison set."""
    from stages.train.methods import METHODS, check_settings, load_class

    for name in params.study.methods:
        check_settings(name, params.methods[name] or {})
        missing = set(load_class(name).signals) - set(offered)
        if missing:
            able = [other for other in METHODS if set(load_class(other).signals) <= set(offered)]
            raise UserError(
                f"study.methods: {name!r} needs {', '.join(sorted(missing))}, but the teacher gives only {', '.join(offered)}. "
                f"Methods that would work: {', '.join(able)}"
            )
        if load_class(name).compares and name not in params.compare.sets:
            raise UserError(
                f"compare.sets.{name}: no such section, but {name!r} compares samples; add `{name}: {{strategy: in-batch, k: 2}}`"
            )
