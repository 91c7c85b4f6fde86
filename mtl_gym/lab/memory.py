"""Memory setting for training programs."""

from __future__ import annotations

import ctypes


def keep_memory() -> bool:
    """Make the process keep freed memory instead of returning it to the system.

    glibc returns large blocks at once. A convolutional network frees and allocates hundreds of megabytes in every
    training step and then spends much of its time on page faults. The setting holds for the whole process until its
    end, and memory grows with the largest demand of each activity; so only programs with one activity call it, such as
    `mtl-gym`, never an import or a library function. Results are equal to the bit.

    Returns:
        True if the setting took effect; systems other than Linux with glibc neither have nor need it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, mmap_max = -1, -4
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_max, 0))
