"""Teachers: one small protocol (`protocol.py`), whatever is behind it. Knows no ledger and no purchase.

`checkpoint`, `experts`, `function` and `table` are asked in this process (`local.py`), everything else over HTTP (`http/`, in a server's
format: `formats/`). `kinds.py` loads one. A teacher of the user's own needs the names below; docs/your_teacher.md has one to copy.
"""

from tuition.teachers.http.format import HttpRequest
from tuition.teachers.kinds import KINDS, fingerprint, load_teacher
from tuition.teachers.local import InProcess
from tuition.teachers.protocol import Refused, Reply, Stop, Teacher, Uncertain

__all__ = [
    "KINDS",
    "HttpRequest",
    "InProcess",
    "Refused",
    "Reply",
    "Stop",
    "Teacher",
    "Uncertain",
    "fingerprint",
    "load_teacher",
]
