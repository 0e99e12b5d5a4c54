"""New samples from an inbox, and which of them are worth a teacher call: what the scheduled flow `refresh` decides before it trains."""
