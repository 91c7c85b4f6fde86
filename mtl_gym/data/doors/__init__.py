"""Conversion of a user's frames, `datasets` objects and image folders to multi-task data sets.

Each door reads its own format into `Samples`; `assembly` splits and checks them for all doors.
"""

from mtl_gym.data.doors.constructors import Doors
from mtl_gym.data.doors.image_folders import PathLike

__all__ = ["Doors", "PathLike"]
