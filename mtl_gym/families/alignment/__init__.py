"""Alignment: assign shared modules to the weight blocks of different architectures (MUiR)."""
