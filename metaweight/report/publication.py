"""The files of a comparison's table: the same for a grid and for tables that are joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metaweight.report.standings import (
    Compared,
    Standings,
    standings,
    standings_to_csv,
    standings_to_markdown,
)
from metaweight.report.tables import (
    Comparison,
    Result,
    runs_to_csv,
    to_csv,
    to_markdown,
)


def write_table(
    folder: Path,
    heading: str,
    table: Comparison,
    results: Sequence[Result],
    *,
    notes: Sequence[str] = (),
) -> str:
    """Write table.md, with its ``heading`` (Markdown) and the ``notes`` under it, table.csv and runs.csv.

    ``table`` is that of ``results``; returns the text of table.md.
    """
    text = "\n".join([f"{heading}\n", to_markdown(table), *(f"{note}\n" for note in notes)])
    (folder / "table.md").write_text(text, encoding="utf-8")
    (folder / "table.csv").write_text(to_csv(table), encoding="utf-8")
    (folder / "runs.csv").write_text(runs_to_csv(results, table.columns), encoding="utf-8", newline="")
    return text


def write_statistics(
    folder: Path,
    heading: str,
    results: Sequence[Result],
    compared: Sequence[Compared],
    *,
    groups: Mapping[str, str],
) -> Standings | None:
    """Write statistics.md and statistics.csv; None, and no file, where there is nothing to compare."""
    found = standings(results, compared, groups=groups)
    if found is not None:
        text = f"{heading}\n\n{standings_to_markdown(found)}"
        (folder / "statistics.md").write_text(text, encoding="utf-8")
        (folder / "statistics.csv").write_text(standings_to_csv(found), encoding="utf-8")
    return found
