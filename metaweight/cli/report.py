"""``metaweight report``: what a run or a grid shows, as one page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich import get_console

from metaweight.report.page import write_page


@dataclass(frozen=True, kw_only=True)
class Report:
    """The folder of a run or a grid; a call writes its page."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of metaweight train or metaweight compare, finished or not."""
    out: str | None = None
    """The page's file; must not exist. Default: report.html in the folder, written anew where it is there."""

    def __call__(self) -> None:
        path = write_page(self.run, self.out)
        get_console().print(f"report: {path}", soft_wrap=True, highlight=False, markup=False)
