"""Claims with their measurements. Each is run as `uv run python -m benchmarks.<name>`; see README.md here."""

import tuition  # noqa: F401  sets OpenMP's spinning before torch is loaded, as in every process of the project
