"""A figure of the text, drawn from a kept table: what the role ``kept`` gives.

``{kept}`default-held-out | auto | rank``` reads benchmarks/results/default-held-out/table.md.  A row that two
leading cells name is asked for by both: ``{kept}`default-pairs | none, auto | BLEU```.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@dataclass(frozen=True)
class Table:
    """Headings and rows, without their markup."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def starts(self) -> tuple[int, ...]:
        """Columns at which the names of rows may begin: behind the places of a leaderboard too."""
        return (0,) if self.headings[0] else (0, 1)


def figure(wanted: str, results: Path = RESULTS) -> str:
    """What stands in the cell that ``FOLDER | ROW | COLUMN`` names.

    Raises KeyError, with what there is, where no table of the folder has it, or several rows of one do.
    """
    folder, row, column = (part.strip() for part in wanted.replace("\\|", "|").split("|"))
    path = results / folder / "table.md"
    if not path.is_file():
        raise KeyError(f"no kept table {folder!r} below {results.name}")
    cells = tuple(cell.strip() for cell in row.split(", "))
    found = tables(path)
    for table in found:
        for names in dict.fromkeys((cells, (row,))):
            rows = [
                line
                for line in table.rows
                if any(line[start : start + len(names)] == names for start in table.starts)
            ]
            if rows and column in table.headings:
                if len(rows) > 1:
                    raise KeyError(f"{folder}: {len(rows)} rows begin with {row!r}; name the next cell too")
                return rows[0][table.headings.index(column)]
    there = "; ".join(
        f"columns {', '.join(t.headings)} of rows {', '.join(r[0] for r in t.rows)}" for t in found
    )
    raise KeyError(f"{folder} has no row {row!r} with a column {column!r}, but {there}")


@functools.lru_cache(maxsize=256)
def tables(path: Path) -> tuple[Table, ...]:
    """The tables of a Markdown file."""
    return tuple(_tables(path.read_text(encoding="utf-8").splitlines()))


def _tables(lines: Sequence[str]) -> Iterator[Table]:
    rows: list[tuple[str, ...]] = []
    for line in (*lines, ""):
        if line.startswith("|"):
            rows.append(tuple(plain(cell) for cell in line.strip().strip("|").split("|")))
        elif rows:
            if len(rows) > 1:  # the second line is the rule
                yield Table(rows[0], tuple(rows[2:]))
            rows = []


def plain(cell: str) -> str:
    """A cell without backticks, stars and links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", cell).replace("`", "").replace("*", "").strip()
