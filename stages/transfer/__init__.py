"""transfer: other data → the arrays on which evaluate probes a student's embedding."""
