"""teach: spend the budget, own the outputs. Knows the ledger and the teacher, nothing of methods or students."""
