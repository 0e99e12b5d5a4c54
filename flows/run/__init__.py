"""One run of a flow: what DVC says is due, a task for each, and what Prefect is told."""
