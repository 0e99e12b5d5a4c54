"""kind `table`: answers that were paid for elsewhere, in a CSV, Parquet or JSON Lines file.

`columns` says which column is what, `samples` whose answer a row is, `cells` what it says, `read` goes through the file, and `teacher`
is what is asked.
"""
