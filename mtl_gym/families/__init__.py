"""The five families of environments, a folder each."""
