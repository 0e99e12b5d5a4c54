"""Prefect drives the stages through DVC: when and where a stage runs is decided here, whether it must run is DVC's to say."""

import os

os.environ.setdefault("DO_NOT_TRACK", "true")  # the one switch of Prefect's telemetry that prefect.toml cannot hold
