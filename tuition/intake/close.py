"""`close`: what came of a refresh, once the study is through: what was spent of the allowance, and who is champion now."""

from pathlib import Path
from typing import Any

from tuition.files import read_json, write_json
from tuition.intake import account
from tuition.intake.plan import PLAN
from tuition.intake.take import TAKEN

RESULT, REGISTERED = Path("refresh/result.json"), Path("report/registered.json")


def close() -> dict[str, Any]:
    """What `refresh/result.json` holds. Raises UserError where there is no plan."""
    taken, plan = read_json(TAKEN), read_json(PLAN)
    registered = read_json(REGISTERED) if plan["run"] and REGISTERED.exists() else None
    spent = account.spent(plan["fingerprint"], plan["every"])
    promoted = registered is not None and "champion" in registered["aliases"]
    told = {
        "taken": taken["new"],
        "duplicates": sum(taken["duplicates"].values()),
        "rejected": taken["rejected"],
        "run": plan["run"],
        "bought": max(0, spent - plan["spent_before"]),
        "spent": spent,
        "allowance": plan["allowance"],
        "every": plan["every"],
        "later": plan["later"],
        "ranked_by": plan["ranked_by"],
        "budget": plan["budget"],
        "champion_before": plan["champion"],
        "champion": registered["version"] if registered and promoted else plan["champion"],
        "challenger": registered and {key: registered[key] for key in ("version", "cell", "reason", "test_top1")},
        "verdict": registered["reason"] if registered else "the study was not run",
    }
    write_json(RESULT, told)
    return told
