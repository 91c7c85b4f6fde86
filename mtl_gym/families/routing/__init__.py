"""Routing networks: an agent picks the block that processes an input next."""
