"""Multi-task data sets: tensors ``x``, ``task`` and ``y`` per split.

``load(name)`` returns a bundled data set; ``MultiTaskDataset.from_tasks`` builds one from your own arrays.
"""

from mtl_gym.data.collection import TaskCollection, TaskData
from mtl_gym.data.dataset import SPLITS, MultiTaskDataset, Split
from mtl_gym.data.errors import DamagedDataError, DownloadError, MissingDataError, UnknownDatasetError
from mtl_gym.data.fetching import download
from mtl_gym.data.loading import load
from mtl_gym.data.registry import DataSource, catalogue, names
from mtl_gym.data.resolution import resolve
from mtl_gym.data.roots import data_root
from mtl_gym.data.vectors import word_vectors

__all__ = [
    "SPLITS",
    "DamagedDataError",
    "DataSource",
    "DownloadError",
    "MissingDataError",
    "MultiTaskDataset",
    "Split",
    "TaskCollection",
    "TaskData",
    "UnknownDatasetError",
    "catalogue",
    "data_root",
    "download",
    "load",
    "names",
    "resolve",
    "word_vectors",
]
