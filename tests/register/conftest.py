"""Registering is tested on the same small study as tracking."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tracking"))
