"""Recurrent routing: which sub-networks to connect at this time step."""
