"""Entry point of `python -m mtl_gym`, which is the command `mtl-gym`."""

from mtl_gym.lab.__main__ import main

if __name__ == "__main__":
    main()
