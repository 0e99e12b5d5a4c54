"""`close`: what came of a refresh, once the study is through: what was spent of the allowance, and who is champion now."""

from typing import Any

from tuition.files import read_json, write_json
from tuition.intake import account
from tuition.workspace import Workspace


def close() -> dict[str, Any]:
    """What `refresh/result.json` holds. Raises UserError where there is no plan."""
    refresh, report = Workspace().refresh, Workspace().report
    taken, plan = read_json(refresh.taken), read_json(refresh.plan)
    registered = read_json(report.registered) if plan["run"] and report.registered.exists() else None
    spent = account.spent(plan["fingerprint"], plan["every"])
    promoted = registered is not None and "champion" in registered["aliases"]
    result = {
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
    write_json(refresh.result, result)
    return result
