"""Task scheduling: which task is trained next, or how much each weighs."""
