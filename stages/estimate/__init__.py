"""estimate: features and owned answers → estimated answers for the rest of the pool. Knows no teacher, no ledger and no image."""
