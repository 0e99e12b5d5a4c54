"""The best student in MLflow's registry: promotion, history, lineage, reproduction, export, scoring. Calls no teacher, opens no ledger."""
