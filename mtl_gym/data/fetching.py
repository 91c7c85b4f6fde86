"""Fetching data sets from the network, only ever when asked to."""

import http.client
import logging
import os
import tempfile
from pathlib import Path

from mtl_gym.data.errors import DownloadError
from mtl_gym.data.registry import DataSource, find
from mtl_gym.data.roots import data_root
from mtl_gym.data.vision import import_torchvision

_LOG = logging.getLogger(__name__)


def download(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Fetches a data set into the data root; does nothing where it is there already.

    Args:
        name: One of ``names()``.
        root: Where to; see ``data_root`` for the default. The folder is made if need be.

    Returns:
        The data root.

    Raises:
        UnknownDatasetError: There is no data set of that name.
        DownloadError: It could not be fetched, or cannot be fetched by a program; the message says what to do.
    """
    source, folder = find(name), data_root(root)
    if source.is_present(folder):
        return folder
    if source.torchvision is None:
        raise DownloadError(f"data set {name!r} cannot be downloaded to {folder}: {source.by_hand}.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(source, source.torchvision, folder)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as error:
        raise DownloadError(_failure(source, folder, error)) from error
    return folder


def _fetch(source: DataSource, torchvision_class: str, root: Path) -> None:
    _LOG.info("downloading %s to %s", source.name, root)
    # Moved when complete: half a download would be taken for the data set the next time.
    with tempfile.TemporaryDirectory(dir=root, prefix=".downloading-") as scratch:
        getattr(import_torchvision().datasets, torchvision_class)(scratch, download=True)
        for name in source.layouts[0]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(scratch) / name, root / name)


def _failure(source: DataSource, root: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"could not download data set {source.name!r} to {root}: {reason}. Check the network connection, the proxy "
        f"settings and that the folder can be written to, and try again; or put these files there yourself: "
        f"{', '.join(source.layouts[0])}."
    )
