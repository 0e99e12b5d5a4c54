"""Whether answers are plausible: what raises no error and is wrong all the same, one file a check.

Looked at before the bulk is sent and again at the export. Knows neither what a sample looks like nor who answers.
"""
