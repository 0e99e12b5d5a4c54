"""Where a study's files came from: the commit of the code, and the hashes under which DVC keeps what stages made."""

import configparser
import subprocess
from pathlib import Path

from tuition.errors import UserError
from tuition.workspace import Workspace

NO_GIT = (
    "no git repository, which DVC keeps to: a copy without one, such as a downloaded archive, becomes one by `git init && git add . && "
    "git commit -m start`; or `dvc config --local core.no_scm true` lets DVC work without"
)


def check_git() -> None:
    """Raises UserError where the current directory is in no git repository, and DVC was not told to do without."""
    here = Path.cwd()
    if any((folder / ".git").exists() for folder in (here, *here.parents)):
        return
    config = configparser.ConfigParser(strict=False, interpolation=None)
    try:
        config.read([Workspace().dvc / "config", Workspace().dvc / "config.local"], encoding="utf-8")
        without = config.getboolean("core", "no_scm", fallback=False)
    except (configparser.Error, ValueError):
        return  # DVC says what is wrong with it
    if not without:
        raise UserError(f"{here}: {NO_GIT}")


def run_git(*arguments: str) -> bytes | None:
    """What a command of git prints; None where there is no git, no repository, or the command fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def git_tags() -> dict[str, str]:
    """Tags with the commit that is checked out and whether tracked files differ from it; empty outside a repository.

    A repository that tracks nothing here, such as that of a folder above a downloaded archive, is another one.
    """
    commit = run_git("rev-parse", "HEAD")
    if commit is None or not run_git("ls-files"):
        return {}
    changed = run_git("status", "--porcelain", "--untracked-files=no")
    return {"mlflow.source.git.commit": commit.decode().strip(), "git.dirty": "true" if changed else "false"}


def dvc_hashes(path: Path | None = None) -> dict[str, str]:
    """The hash of every output in `dvc.lock` by its path; empty where there is no such file, or DVC is writing it."""
    import yaml

    try:
        text = (path or Workspace().lockfile).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    try:
        stages = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
        return {out["path"]: str(out[out["hash"]]) for out in outs if out.get("hash") in out}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}
