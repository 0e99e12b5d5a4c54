"""Teachers that are asked over HTTP, whatever their format: transport, outcomes, rate limits, client. Knows no ledger."""
