"""Some rows of a file, written as the file has them."""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from pathlib import Path

from metaweight.data.tables.content import PACKED, kind_of, read_bytes, read_text

PARQUET = ".parquet"


def excerpt(
    source: str | Path, starts: Sequence[int], kept: Collection[int], *, comments: bool = False
) -> bytes:
    """The rows ``kept`` of a file, in its own format and order, with all that stands before its first row.

    ``starts``: the line at which each row begins, of Parquet its row, from 1; ``kept``: positions among
    these.  A row ends where the next one begins.  ``comments``: lines that begin with # belong to the row
    below them.  Text comes out as UTF-8 with its own line ends, unpacked.  Raises ValueError for a file that
    cannot be read.
    """
    place = Path(source).expanduser()
    if kind_of(place) == PARQUET:
        return _parquet(place, [starts[position] - 1 for position in sorted(kept)])
    text = read_text(place).text
    if "\n" not in text:
        text = text.replace("\r", "\n")  # as ``parsed`` reads it
    lines = text.removesuffix("\n").split("\n")
    firsts = [_first(lines, start - 1) if comments else start - 1 for start in starts]
    ends = [*firsts[1:], len(lines)]
    own = lines[: firsts[0]]
    for position in sorted(kept):
        row = lines[firsts[position] : ends[position]]
        while len(row) > 1 and not row[-1].strip() and not comments:  # of a table; sentences end so
            row.pop()
        own += row
    return "".join(f"{line}\n" for line in own).encode()


def require_like(source: str, out: str) -> None:
    """Raise ValueError where the name ``out`` does not say what ``source`` holds, or that it is packed."""
    kind, own = kind_of(Path(source)), kind_of(Path(out))
    if Path(out).suffix.lower() in PACKED:
        raise ValueError(f"{out}: rows are written unpacked: leave out {Path(out).suffix}")
    if own != kind:
        raise ValueError(f"{out}: rows are written as {source} has them: choose a name that ends in {kind}")


def _first(lines: Sequence[str], first: int) -> int:
    """The line, from 0, at which a row begins with its comments."""
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return first


def _parquet(place: Path, rows: Sequence[int]) -> bytes:
    import pyarrow  # heavy, and seldom needed
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(read_bytes(place)))
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table.take(pyarrow.array(rows, pyarrow.int64())), stream)
    return stream.getvalue()
