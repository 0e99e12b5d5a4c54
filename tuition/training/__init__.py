"""What runs a training, whatever its method: the loop over batches, loading, networks, processes, the student's files."""
