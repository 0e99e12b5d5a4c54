"""register: MLflow in line with the study's files, and the study's best student in its model registry, with what made it.

It chooses by validation alone. What makes a champion is decided in `tuition/registry`; it trains nothing and asks no teacher.
"""
