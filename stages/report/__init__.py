"""report: the results of all cells become tables, pictures and words, one report a study.

Reads files alone: it knows no model, no teacher, no ledger and no MLflow, and the test split only as its labels.
"""
