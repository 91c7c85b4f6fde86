"""MUiR: which shared module generates which block of weights, across architectures that have nothing in common."""
