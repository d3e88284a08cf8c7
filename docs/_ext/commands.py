"""The command line's reference, from its own help."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from made import MADE, write

from metaweight.cli.completion import ALL
from metaweight.cli.main import main
from metaweight.tasks import tasks

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = MADE / "reference" / "made" / "commands"
OF_TASK = ("train", "compare")
"""Those whose options are a task's."""
WIDTH = 88


def help_of(words: Sequence[str]) -> str:
    """What the command prints, without colours."""
    out = io.StringIO()
    plain = {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb"}
    with patch.dict(os.environ, plain), contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    text = "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
    if not text.startswith("usage"):
        raise RuntimeError(f"metaweight {' '.join(words)} --help printed no help: {text[:200]}")
    return text


def make(_: Sphinx) -> None:
    """A page for each command, and one of them all."""
    for name in ALL:
        calls = [[name, "--task", task] for task in tasks.names()] if name in OF_TASK else [[name]]
        blocks = []
        for words in calls:
            title = f"## `--task {words[-1]}`\n\n" if len(words) > 1 else ""
            blocks.append(f"{title}```text\n{help_of(words)}\n```")
        write(FOLDER / f"{name}.md", f"# metaweight {name}\n\n" + "\n\n".join(blocks) + "\n")
    listed = "\n".join(ALL)
    write(
        FOLDER / "index.md",
        f"# Command line\n\n```text\n{help_of([])}\n```\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n",
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """For Sphinx."""
    app.connect("builder-inited", make)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
