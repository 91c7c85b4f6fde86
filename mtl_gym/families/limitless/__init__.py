"""Limitless routing networks: an episode chooses the modules of a network for one input, then the network is run."""
