"""What `python -m flows.serve` starts: servers, a worker, deployments."""
