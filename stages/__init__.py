"""The stages of Tuition, one package each, in the order in which data flows."""

import os

# Threads that wait for each other by spinning make two training processes on two cores twenty times slower than one
# after the other; a short spin costs nothing when alone. Read by OpenMP when torch is loaded. See benchmarks/contention.py.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
