"""Adapters to other libraries, each imported by whoever has that library."""
