"""compare: owned outputs → comparison sets. Knows arrays only: no torch, no teacher, no method's formula."""
