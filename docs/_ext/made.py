"""Where generated pages go; one that says the same is left alone, so that Sphinx need not read it."""

from __future__ import annotations

from pathlib import Path

MADE = Path(__file__).parents[1]
"""The folder that Sphinx reads."""
HOME = MADE.parent
GENERATED = (MADE / "evidence", MADE / "reference" / "made")
"""What is written by a build."""


def write(path: Path, text: str) -> None:
    """Write a page, if it is another one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
