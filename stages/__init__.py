"""The stages of Tuition, one package each, in the order in which data flows."""

import os

# Threads that wait for each other by spinning make training processes that share the cores slow each other down far beyond
# their share; a short spin costs nothing when alone. Read by OpenMP when torch is loaded. Measured: benchmarks/contention.py.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
