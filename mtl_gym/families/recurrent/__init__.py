"""Recurrent routing: an agent connects sub-networks at every time step."""
