"""The study's best student, in the MLflow model registry, with what it took to make it."""
