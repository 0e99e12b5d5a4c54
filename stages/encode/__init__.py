"""encode: samples → features that cost no teacher call. Runs where only torch is installed."""
