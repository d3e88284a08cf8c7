"""A whole file as text: unpacked, and decoded by its byte order mark."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

MARKS = (
    (b"\xef\xbb\xbf", "UTF-8", "utf-8"),
    (b"\xff\xfe\x00\x00", "UTF-32", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "UTF-32", "utf-32-be"),
    (b"\xff\xfe", "UTF-16", "utf-16-le"),
    (b"\xfe\xff", "UTF-16", "utf-16-be"),
)
"""Byte order mark, name, codec; the longer of two that begin alike first."""
WIDE = 32
"""Bytes that are looked at for UTF-16 without a byte order mark."""


class Content(NamedTuple):
    """What a text file says."""

    text: str
    """Without byte order mark; line ends as they are."""
    encoding: str
    """``UTF-8``, ``UTF-16`` or ``UTF-32``."""


def kind_of(path: Path) -> str:
    """The ending that tells what a file holds, without that of how it is packed: ``.tsv`` of a.tsv.gz."""
    return (path.with_suffix("").suffix if path.suffix.lower() in PACKED else path.suffix).lower()


def read_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked as its name says.  Raises ValueError for a missing or broken file."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file in it")
    if not path.exists():
        raise ValueError(f"{path}: there is no such file")
    data = path.read_bytes()
    unpack = PACKED.get(path.suffix.lower())
    if unpack is None:
        return data
    try:
        if not data:
            raise EOFError("it is empty")
        return unpack(data)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error) as error:
        raise ValueError(f"{path} is no whole {path.suffix} file: {error}") from error


def read_text(path: Path) -> Content:
    """A file as text: UTF-8, or what its byte order mark says.

    Raises ValueError as ``read_bytes``, for an empty file, and, with line and byte (from 1), for bytes that
    are no such text.
    """
    data = read_bytes(path)
    mark, name, codec = next((known for known in MARKS if data.startswith(known[0])), (b"", "UTF-8", "utf-8"))
    body = data[len(mark) :]
    if not mark and _looks_wide(body):
        raise ValueError(
            f"{path} looks like UTF-16 without a byte order mark: every other byte is 0; convert it to "
            "UTF-8: iconv -f UTF-16LE -t UTF-8 FILE"
        )
    try:
        text = body.decode(codec)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, {_place(body, error, name, codec)}") from error
    if not text:
        raise ValueError(f"{path} is empty")
    return Content(text, name)


def _place(body: bytes, error: UnicodeDecodeError, name: str, codec: str) -> str:
    """Line, byte and advice."""
    before = body[: error.start].decode(codec, "ignore")
    line = before.count("\n") + 1
    byte = len(before.rpartition("\n")[2].encode(codec, "surrogatepass")) + 1
    return (
        f"line {line}: invalid {name} at byte {byte} of the line (0x{body[error.start]:02x}); convert the "
        "file to UTF-8, if it is Western European with: iconv -f WINDOWS-1252 -t UTF-8 FILE"
    )


def _looks_wide(body: bytes) -> bool:
    head = body[: 4 * WIDE]
    if len(head) < WIDE:
        return False
    even, odd = head[::2].count(0) / len(head[::2]), head[1::2].count(0) / len(head[1::2])
    return max(even, odd) > 0.7 and min(even, odd) < 0.3


def _unzstd(data: bytes) -> bytes:
    import pyarrow  # heavy, and seldom needed

    stream: Any = pyarrow.CompressedInputStream(pyarrow.BufferReader(data), "zstd")
    unpacked: bytes = stream.read()
    return unpacked


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".xz": lzma.decompress,
    ".bz2": bz2.decompress,
    ".zst": _unzstd,
}
"""Ending of a packed file's name -> how it is unpacked."""
