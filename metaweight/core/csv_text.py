"""Tables as CSV that reads back as it was written, whatever text the cells hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from metaweight.core.atomic import whole_file


class _Lines:
    """What csv.writer writes rows into: they end in a newline alone."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def write(self, row: str) -> None:
        self.rows.append(row.removesuffix("\r\n") + "\n")


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """RFC 4180 with line ends of one newline; what needs quotes has them.

    Line ends, returns, quotes and NUL inside a cell survive.  Half a surrogate pair, which is no text and
    which no file can hold, becomes U+FFFD.
    """
    lines = _Lines()
    # with this terminator returns inside a cell are quoted, as readers need it
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return writable("".join(lines.rows))


def writable(text: str) -> str:
    """Text that a file can hold: half a surrogate pair becomes U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def number_as_cell(number: float) -> str:
    """Six digits; empty for NaN."""
    return f"{number:.6g}" if number == number else ""  # NaN is nothing's equal


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write ``csv_text`` as UTF-8, all of it or nothing."""
    with whole_file(path) as file:
        file.write(csv_text(header, rows).encode())


def read_csv(path: Path, *, columns: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of a table that ``write_csv`` wrote, by column; ``columns`` are there.

    Raises FileNotFoundError, and ValueError that names the file, with the line of a row that does not fit the
    header, for what is no text and for a column that is missing.
    """
    rows = list(csv_rows(read_text(path), str(path)))
    lacking = [column for column in columns if rows and column not in rows[0]]
    if lacking:
        raise ValueError(f"{path} is damaged: it has no column {', '.join(lacking)}")
    return rows


def read_text(path: Path) -> str:
    """All of a UTF-8 file.  Raises FileNotFoundError, and ValueError with its name for what is none."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def csv_rows(text: str, where: str) -> Iterator[dict[str, str]]:
    """The rows of CSV by column, one by one; ``where`` names the file in errors."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        try:
            with unlimited_fields(len(text)):
                fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{where}, line {reader.line_num}: {error}") from error
        if header is None:
            header = fields
        elif len(fields) == len(header):
            yield dict(zip(header, fields, strict=True))
        else:
            raise ValueError(
                f"{where}, line {reader.line_num}: {len(fields)} fields, the header has {len(header)}"
            )


@contextmanager
def unlimited_fields(characters: int) -> Iterator[None]:
    """Let a field of CSV have so many characters; the limit is the process's, so it is put back."""
    before = csv.field_size_limit(max(characters, 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
