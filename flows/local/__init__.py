"""What a flow needs on its own machine: commands that end with it, and the lock on its workspace."""
