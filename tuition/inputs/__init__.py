"""What a sample is: one package a kind (`kinds.py`), each of which gives what `protocol.py` lists. Knows neither models nor teachers."""
