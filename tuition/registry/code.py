"""The code of a study in another folder: that of a commit, or what lies here."""

import io
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from tuition.tracking.lineage import run_git

IGNORED = ("__pycache__", "*.pyc")


def extract_commit(commit: str, work: Path, say: Callable[[str], object]) -> bool:
    """Put the tracked files of a commit into `work`; touches nothing in the repository. Whether it is there.

    A link that leads out of it is left out."""
    if not re.fullmatch(r"[0-9a-f]{40,64}", commit):  # whoever may write to the registry wrote it
        return False
    content = run_git("archive", "--format=tar", commit)
    if content is None:
        return False
    shutil.rmtree(work / "stages", ignore_errors=True)

    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        kept = []
        for member in archive:
            if _leads_out(member):
                say(f"warning: left out {member.name}, a link to {member.linkname}, which leads out of the repository")
            else:
                kept.append(member)
        if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(work, kept)
    return True


def _leads_out(member: tarfile.TarInfo) -> bool:
    if not member.issym():
        return False
    target = os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname))
    return target.startswith(os.pardir) or os.path.isabs(target)


def copy_present(work: Path) -> bool:
    """Put the stages that lie in the current directory into `work`. Whether there are any."""
    if not Path("stages").is_dir():
        return False
    shutil.rmtree(work / "stages", ignore_errors=True)
    shutil.copytree("stages", work / "stages", ignore=shutil.ignore_patterns(*IGNORED), ignore_dangling_symlinks=True)
    if not (work / ".dvcignore").exists() and Path(".dvcignore").exists():
        shutil.copyfile(".dvcignore", work / ".dvcignore")
    return True
