"""``metaweight report``: what a run or a grid shows, as one page, and a grid's tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from metaweight.comparison.records import PLAN
from metaweight.core.console import Terminal
from metaweight.report.page import read_study, write_page
from metaweight.report.publication import publish
from metaweight.report.troubles import Troubles


@dataclass(frozen=True, kw_only=True)
class Report:
    """The folder of a run or a grid; a call writes its page, and a grid's tables and plots."""

    run: Annotated[str, tyro.conf.Positional]
    """Folder of metaweight train or metaweight compare, finished or not."""
    out: str | None = None
    """The page's file; must not exist. Default: report.html in the folder, written anew where it is there."""

    def __call__(self) -> None:
        if self.out is None and (Path(self.run) / PLAN).is_file():
            publish(Path(self.run), Terminal())
            return
        troubles = Troubles()
        path = write_page(read_study(self.run), self.out, troubles=troubles)
        Terminal().print(f"report: {path}", soft_wrap=True)
        troubles.raise_any()
