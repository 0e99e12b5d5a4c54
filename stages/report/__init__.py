"""report: the results of all cells become tables, pictures and words, one report a study.

Reads files, and asks the best student about owned and validation samples: it knows no teacher, no ledger and no MLflow, and the test
split only as its labels.
"""
