"""``metaweight choose-trusted``: rows for a person to check, so that there are trusted ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.report.choosing import Sample, checking_page, choose, sample_csv
from metaweight.tasks.guess import guess_task


@dataclass(frozen=True, kw_only=True)
class ChooseTrusted:
    """Own data; a call draws rows of them and writes them as a table, and as a page to check them on."""

    data: Annotated[str, Positional]
    """Your training rows, as `metaweight train --train` takes them."""
    label: str | None = None
    """Column of the labels; default: the one called label, target, class or y."""
    size: int | None = None
    """How many; default: 100, or 10 of each class where that is more."""
    seed: int = 0
    """Seeds which ones."""
    task: str | None = None
    """What the rows are for: image, text, tabular, translation; default: as the data look."""
    out: str = "trusted.csv"
    """File of the rows; the page lies beside it. Neither may exist."""

    def __call__(self) -> None:
        out = Path(self.out)
        page = out.with_suffix(".html")
        for path in (out, page):
            if os.path.lexists(path):
                raise FileExistsError(f"{path} exists: choose another file with --out")
        task = guess_task([self.data], self.label).task if self.task is None else self.task
        if task == "tokens":
            raise ValueError(
                f"{self.data} holds a label a token: copy some of its sentences into a file and check them"
            )
        sample = choose(self.data, label=self.label, size=self.size, seed=self.seed, task=task)
        text = checking_page(sample, out.name)
        for path, content in ((out, sample_csv(sample)), (page, text)):
            with whole_file(path) as file:
                file.write(content.encode())
        self._say(sample, out, page, task)

    def _say(self, sample: Sample, out: Path, page: Path, task: str) -> None:
        console = Terminal()
        for note in sample.notes:
            console.print(note, soft_wrap=True)
        console.print(f"{len(sample)} rows: {out}, and to check them in a browser: {page}", soft_wrap=True)
        named = f" --label {sample.label}" if sample.label and task != "image" else ""
        more = " --overlap drop" if task in ("image", "translation") else ""
        console.print(
            f"Check them, save the page's {out.name} over this one (or mend its labels), and then: "
            f"metaweight train --train {self.data}{named} --meta {out}{more}",
            soft_wrap=True,
        )
