"""Routing networks: which block should process this input next?"""
