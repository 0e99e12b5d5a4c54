"""Tuition: distil a costly teacher into a small student, and pay for every teacher call exactly once.

This package is the library that `stages/` and `flows/` are made of, and what a user's own code imports; it imports neither of them.
"""

import os

# Threads that wait for each other by spinning make training processes that share the cores slow each other down far beyond
# their share; a short spin costs nothing when alone. Read by OpenMP when torch is loaded. Measured: benchmarks/contention.py.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
