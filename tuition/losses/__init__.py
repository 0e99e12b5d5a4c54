"""What methods' losses are made of: comparisons, divergences, relations, layers, mixtures. Knows tensors alone, and no method."""
