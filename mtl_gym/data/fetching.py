"""Download of data sets, on explicit request only."""

import http.client
import logging
import os
from pathlib import Path

from mtl_gym.core.state.scratch import remove_unfinished, scratch_folder
from mtl_gym.data.errors import DownloadError
from mtl_gym.data.registry import DataSource, find
from mtl_gym.data.roots import data_root
from mtl_gym.data.vision import import_torchvision

_LOG = logging.getLogger(__name__)


def download(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Download a data set into the data root, unless it is already there.

    Args:
        name: One of ``names()``.
        root: Target folder, created if necessary; see ``data_root`` for the default.

    Returns:
        The data root.

    Raises:
        UnknownDatasetError: If there is no data set of that name.
        DownloadError: If the download fails, or the data set cannot be downloaded by a program; the message names the
            remedy.
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
    # Moved when complete, because the next call would take half a download for the data set.
    remove_unfinished(root)
    with scratch_folder(root, source.name) as scratch:
        getattr(import_torchvision().datasets, torchvision_class)(scratch, download=True)
        for name in source.layouts[0]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(scratch / name, root / name)


def _failure(source: DataSource, root: Path, error: Exception) -> str:
    reason = " ".join(str(error).split()) or type(error).__name__
    return (
        f"could not download data set {source.name!r} to {root}: {reason}. Check the network connection, the proxy "
        f"settings and that the folder is writable, and try again; or put these files there yourself: "
        f"{', '.join(source.layouts[0])}."
    )
