"""Teachers that are asked over HTTP, whatever their format: address, transport, outcomes, rate limits, client, probe, teacher.

Knows no ledger, and of a format only what `format.py` asks of it.
"""
