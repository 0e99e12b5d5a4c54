"""`python -m tuition.intake take|plan|close`: new samples out of the inbox, and which of them the period's allowance buys.

`take [--inbox PLACE]` writes `additions/`, its digest into params.yaml, `refresh/taken.json` and `refresh/rejected.csv`; `plan
[--allowance CALLS] [--strategy NAME]`, after `dvc repro prepare`, writes `refresh/order.txt`, names it in params.yaml, and writes
`refresh/plan.json`; `close`, after the study, writes what came of it to `refresh/result.json`. What is not given is as the section
`refresh` says. The flow `refresh` runs all three, and the study before the last.
"""

import argparse
from typing import get_args

from tuition import params as parameters
from tuition.errors import UserError, run, unknown
from tuition.params import Refresh

STRATEGIES = get_args(Refresh.model_fields["strategy"].annotation)


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tuition.intake", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("take", help="take what is new in the inbox")
    taking.add_argument("--inbox", help="a folder or s3://bucket/prefix (refresh.inbox)")
    planning = commands.add_parser("plan", help="choose what the allowance buys")
    planning.add_argument("--allowance", type=int, help="calls a period (refresh.allowance)")
    planning.add_argument("--strategy", help=f"{' | '.join(STRATEGIES)} (refresh.strategy)")
    commands.add_parser("close", help="say what was spent, and who is champion")
    options = parser.parse_args(argv)
    params = parameters.load()
    if options.command == "close":
        from tuition.intake.close import close

        told = close()
        print(
            f"close: {told['spent']} calls are spent this {told['every']}, {told['allowance']} are allowed; {told['verdict']}"
        )
        return
    if options.command == "take":
        from tuition.intake.take import take

        told = take(params, options.inbox or params.refresh.inbox)
        held = sum(told["duplicates"].values())
        none = f"{told['rejected']} are none" + (" (refresh/rejected.csv)" if told["rejected"] else "")
        print(
            f"take: {told['new']} new samples of {told['files']} {told['of']} in {told['inbox']}; {held} are held already, {none}; "
            f"{told['folder']}/ holds {told['additions']}"
        )
        for warning in told["warnings"]:
            print(f"warning: {told['inbox']}: {warning}")
        return
    from tuition.intake.plan import plan, words

    allowance = params.refresh.allowance if options.allowance is None else options.allowance
    strategy = options.strategy or params.refresh.strategy
    if allowance < 1:
        raise UserError(f"refresh.allowance: found {allowance}, expected 1 or more calls")
    if strategy not in STRATEGIES:
        raise unknown("refresh.strategy", strategy, STRATEGIES)
    print(f"plan: {words(plan(params, allowance, strategy))}")


if __name__ == "__main__":
    run(main)
