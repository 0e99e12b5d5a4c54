"""Cells on other machines: runners, clones of the repository, and what passes between them and the workspace."""
