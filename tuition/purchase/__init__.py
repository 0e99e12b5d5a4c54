"""Buying answers: from what a budget asks for to what the ledger owns."""
