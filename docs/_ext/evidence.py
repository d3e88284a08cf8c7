"""Pages of evidence: each suite's README and each kept table, as they lie in benchmarks.

They are written into docs/evidence before the build; links among them are turned to the pages, others to
names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from made import HOME, MADE, write

if TYPE_CHECKING:
    from sphinx.application import Sphinx

BENCHMARKS = HOME / "benchmarks"


def pages() -> dict[Path, Path]:
    """Each Markdown file below benchmarks that is shown -> its page below docs."""
    found: dict[Path, Path] = {}
    for path in sorted(BENCHMARKS.rglob("*.md")):
        inside = path.relative_to(BENCHMARKS)
        if inside.parts[0] == "results":
            name = "results/index" if len(inside.parts) == 2 else f"results/{inside.parts[1]}"
        elif len(inside.parts) == 1:
            name = inside.stem
        else:
            name = inside.parts[0] if inside.name == "README.md" else f"{inside.parts[0]}-{inside.stem}"
        found[path] = MADE / "evidence" / f"{name}.md"
    return found


def relinked(text: str, source: Path, shown: dict[Path, Path]) -> str:
    """``text`` of ``source``, its links to shown files turned to their pages, those to others to names."""
    page = shown[source]

    def turned(match: re.Match[str]) -> str:
        label, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        place, _, fragment = target.partition("#")
        goal = (source.parent / place).resolve()
        for file in (goal, goal / "README.md", goal / "table.md"):
            if file in shown:
                link = os.path.relpath(shown[file], page.parent)
                return f"[{label}]({link}{f'#{fragment}' if fragment else ''})"
        if not goal.exists():
            raise FileNotFoundError(f"{source.relative_to(HOME)}: the link {target!r} leads nowhere")
        name = f"`{goal.relative_to(HOME)}`"
        return name if label.strip("`") in name else f"{label} ({name})"

    def change(part: str) -> str:
        part = re.sub(r"!\[[^]\n]*\]\([^)\s]+\)\n*", "", part)  # pictures are not kept
        return re.sub(r"\[([^]\n]*)\]\(([^)\s]+)\)", turned, part)

    return _outside_code(text, change)


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else change(part) for part in parts)


def titled(text: str, path: Path) -> str:
    """With a title: a kept table has none of its own where the suite wrote none."""
    if text.lstrip().startswith("# "):
        return text
    return f"# {path.parent.name}\n\n{text}"


def make(_: Sphinx) -> None:
    """Write the pages, and their index."""
    shown = pages()
    for source, page in shown.items():
        text = titled(source.read_text(encoding="utf-8"), source)
        # a suite's page may begin its headings anywhere
        write(page, f"---\norphan: true\n---\n\n{relinked(text, source, shown)}")
    suites = [p for p in shown.values() if p.parent.name == "evidence"]
    listed = "\n".join(p.stem for p in sorted(suites))
    write(
        MADE / "evidence" / "index.md",
        "# Evidence\n\nWhat was measured, how, and every kept table. The short form: "
        "[what the evidence says](../explanation/what-the-evidence-says.md).\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\nresults/index\n```\n",
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
