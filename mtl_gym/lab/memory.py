"""Memory that a training program frees and takes again in every step."""

from __future__ import annotations

import ctypes


def keep_memory() -> bool:
    """Have the process keep the memory that it frees, instead of giving it back to the system.

    glibc gives large blocks back at once. A convolutional network frees and takes hundreds of megabytes in every
    training step, and then spends a good part of its time on page faults. It concerns the whole process until its end,
    and one that does many things then grows by the largest of each: it is for programs that do one, such as the
    installed `mtl-gym`, and never done on import or by what others call. The results are the same to the bit.

    Returns:
        Whether it took effect; other systems than Linux with glibc have no such setting and need none.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    trim_threshold, mmap_max = -1, -4
    return bool(mallopt(trim_threshold, 2**31 - 1) and mallopt(mmap_max, 0))
