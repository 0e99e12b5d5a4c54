"""evaluate: a student → its test logits and figures; one a cell."""
