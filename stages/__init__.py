"""The stages of dvc.yaml, one package each, in the order in which data flows. They are made of the library `tuition`."""
