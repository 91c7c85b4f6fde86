"""Reading of data files without Windows line endings, and their comparison with the published files."""

import logging
import re
from pathlib import Path

from mtl_gym.data.errors import damaged
from mtl_gym.data.known import KNOWN

_LOG = logging.getLogger(__name__)
_RETURNS = re.compile(rb"\r+(?=\n|\Z)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_bytes(path: Path) -> bytes:
    """Return the contents of a file.

    Raises:
        DamagedDataError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror or type(error).__name__})") from error


def read_lines(path: Path) -> list[bytes]:
    r"""Return the lines of a text, split at line feeds only.

    Carriage returns before a line feed and a byte order mark, which Windows programs add, are dropped, so that the text
    is the same with and without them.

    Raises:
        DamagedDataError: If the file cannot be read.
    """
    return _RETURNS.sub(b"", read_bytes(path).removeprefix(_BYTE_ORDER_MARK)).split(b"\n")


def tell_difference(path: Path, content: bytes | memoryview, rows: int, unit: str, key: str = "") -> None:
    """Log a warning if a file differs from the published one because it was cut off, damaged or changed.

    Args:
        path: The file.
        content: Contents of the file; text without Windows line endings.
        rows: Number of samples in the file.
        unit: Name of the samples, in the plural.
        key: Key in ``KNOWN``; the default is "FOLDER/FILE" of the path.
    """
    known = KNOWN.get(key or f"{path.parent.name}/{path.name}")
    if known is None or known.is_of(content):
        return
    difference = (
        f"the same number of {unit} ({rows:,}), but other contents"
        if rows == known.rows
        else f"{rows:,} {unit} where the published file has {known.rows:,}"
    )
    _LOG.warning(
        "%s differs from the published file: it has %s. It may be damaged, and results are not comparable with "
        "published ones. Unless you changed it yourself, delete it and get the data set again.",
        path,
        difference,
    )
