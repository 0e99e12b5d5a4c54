"""What methods' losses are made of: the batch, comparisons, divergences, relations, mixing, layers between two networks."""
