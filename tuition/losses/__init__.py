"""What methods are given, the batch and the facts, and what their losses are made of: comparisons, divergences, relations, layers."""
