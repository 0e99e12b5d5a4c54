"""report: results of all cells → tables, curves, a verdict; one a study."""
