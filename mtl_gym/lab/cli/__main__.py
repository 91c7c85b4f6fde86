"""Entry point of `python -m mtl_gym.lab.cli`."""

from mtl_gym.lab.cli import program

program()
