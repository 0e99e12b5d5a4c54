"""What a sample is: one module a modality."""
