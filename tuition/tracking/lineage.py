"""Where a study's files came from: the commit of the code, and the hashes under which DVC keeps what stages made."""

import subprocess
from pathlib import Path

from tuition.workspace import Workspace


def git_tags() -> dict[str, str]:
    """Tags with the commit that is checked out and whether tracked files differ from it; empty outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit, "git.dirty": "true" if changed else "false"}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def dvc_hashes(path: Path | None = None) -> dict[str, str]:
    """The hash of every output in `dvc.lock` by its path; empty where there is no such file, or DVC is writing it."""
    import yaml

    try:
        text = (path or Workspace().lockfile).read_text()
    except OSError:
        return {}
    try:
        stages = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        return {out["path"]: str(out[out["hash"]]) for out in outs if out.get("hash") in out}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}
