"""What runs a training, whatever its method: the loop over batches, loading, networks, processes, checkpoints, the student's files."""
