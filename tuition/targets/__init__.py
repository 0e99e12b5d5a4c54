"""What a teacher's answer about a sample is: one module a kind of answer. Knows no teacher and no ledger."""
