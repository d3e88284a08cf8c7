"""JSON Schemas of the files that metaweight writes, from the types that write and read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
from made import MADE, write

from metaweight.comparison.choices import Choices
from metaweight.comparison.records import Failures, GridPlan
from metaweight.core.records import Record
from metaweight.report.statistics.standings import Standings
from metaweight.tasks.outcome import RunResult

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FILES: dict[str, tuple[type[Record], str]] = {
    "result.json": (RunResult, "What one run gave."),
    "plan.json": (GridPlan, "Which runs a comparison has."),
    "failures.json": (Failures, "Runs of a comparison that failed, with why."),
    "choices.json": (Choices, "Options that were chosen on the validation set."),
    "statistics.json": (Standings, "Differences over seeds, with their intervals."),
}


def schema(record: type[Record]) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a record's file."""
    return msgspec.json.schema(record)


def make(_: Sphinx) -> None:
    """A page of them all."""
    said = "Strict: a key too many is a mistake. `null` stands for what is not defined."
    parts = [f"# Schemas of JSON files\n\n{said}"]
    for file, (record, about) in FILES.items():
        parts.append(f"## {file}\n\n{about}\n\n```json\n{json.dumps(schema(record), indent=1)}\n```")
    write(MADE / "reference" / "made" / "schemas.md", "\n\n".join(parts) + "\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
