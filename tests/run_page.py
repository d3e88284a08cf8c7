"""Runs the code blocks of a page of the documentation, in order: ``python run_page.py PAGE``.

Blocks of Python share a namespace; blocks of sh are given to ``bash -e`` in between.  What a fence marks
``no-run`` is left out.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```\s*$", re.M | re.S)
RUN = {"python", "sh"}
SHOWN = {"text", "toml", "json", "csv", "bibtex"}
"""What a reader reads and does not run."""


@dataclass(frozen=True)
class Block:
    """Code between fences."""

    language: str
    marks: tuple[str, ...]
    code: str
    line: int
    """Of its first line of code, from 1."""

    @property
    def runs(self) -> bool:
        """Whether it is code that is run."""
        return self.language in RUN and "no-run" not in self.marks


def blocks(text: str) -> Iterator[Block]:
    """Those of a page; directives (```{figure}) are none."""
    for found in FENCE.finditer(text):
        language, *marks = found["info"].split() or [""]
        if not language.startswith("{"):
            indent = len(found["indent"])
            code = "".join(line[indent:] or "\n" for line in found["code"].splitlines(keepends=True))
            yield Block(language, tuple(marks), code, text.count("\n", 0, found.start("code")) + 1)


def run(page: Path) -> None:
    """Run a page in the current folder; an error names its line on the page."""
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        if not block.runs:
            continue
        if block.language == "python":
            # as many empty lines before it as the page has
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), names)
        else:
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", block.code])
            if done.returncode:
                sys.exit(f"{page}, line {block.line}: exit code {done.returncode}")


if __name__ == "__main__":
    run(Path(sys.argv[1]))
