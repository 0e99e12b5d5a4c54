"""Students to numbers, curves and a verdict: one evaluation a cell, one report a study."""
