"""Conversion of a user's frames, `datasets` objects and image folders to multi-task data sets.

Each door reads its own format into `Samples`; `assembly` splits and checks them for all doors.
"""

from mtl_gym.data.doors.assembly import Splitting, assemble
from mtl_gym.data.doors.frame import Roles, read_frame
from mtl_gym.data.doors.huggingface import read_huggingface
from mtl_gym.data.doors.image_folders import PathLike, Size, Tasks, read_image_folders

__all__ = [
    "PathLike",
    "Roles",
    "Size",
    "Splitting",
    "Tasks",
    "assemble",
    "read_frame",
    "read_huggingface",
    "read_image_folders",
]
