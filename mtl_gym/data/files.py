"""Files of data sets: read whole, without the line ends of Windows, and held against the files that are given out."""

import logging
import re
from pathlib import Path

from mtl_gym.data.errors import damaged
from mtl_gym.data.known import KNOWN

_LOG = logging.getLogger(__name__)
_RETURNS = re.compile(rb"\r+(?=\n|\Z)")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_bytes(path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        DamagedDataError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise damaged(path, f"it cannot be read ({error.strerror or type(error).__name__})") from error


def read_lines(path: Path) -> list[bytes]:
    r"""Return the lines of a text, parted at line feeds only.

    Carriage returns before a line feed and a byte order mark are what Windows programs add. They are dropped: a text
    with them would be another text than the same one without.

    Raises:
        DamagedDataError: The file cannot be read.
    """
    return _RETURNS.sub(b"", read_bytes(path).removeprefix(_BYTE_ORDER_MARK)).split(b"\n")


def tell_difference(path: Path, content: bytes | memoryview, rows: int, unit: str, key: str = "") -> None:
    """Warn in the log where a file is not the one that is given out: it was cut off, damaged or changed.

    Args:
        path: The file.
        content: What is in it; of a text, without the line ends of Windows.
        rows: How many samples were read from it.
        unit: What these are called, in the plural.
        key: Its name among the known files; its own and its folder's where there is none.
    """
    known = KNOWN.get(key or f"{path.parent.name}/{path.name}")
    if known is None or known.is_of(content):
        return
    difference = (
        f"the same number of {unit} ({rows:,}), but other contents"
        if rows == known.rows
        else f"{rows:,} {unit} where the file that is given out has {known.rows:,}"
    )
    _LOG.warning(
        "%s differs from the file that is given out: it has %s. It may be damaged, and figures do not compare with "
        "published ones. Unless you changed it yourself, delete it and get the data set again.",
        path,
        difference,
    )
