"""``metaweight choose-trusted``: rows for a person to check, so that there are trusted ones."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from metaweight.core.atomic import whole_file
from metaweight.core.console import Terminal
from metaweight.report.choosing import Choice, Sample, checking_page, choose
from metaweight.tasks import tasks
from metaweight.tasks.guess import guess_task


@dataclass(frozen=True, kw_only=True)
class ChooseTrusted:
    """Own data; a call draws rows of them and writes them as a table, and as a page to check them on."""

    data: Annotated[str, Positional]
    """Your training data, as `metaweight train --train` takes them; two files of sentences: A,B."""
    label: str | None = None
    """Column of the labels; default: the one called label, target, class or y."""
    size: int | None = None
    """How many; default: 100, or 10 of each class where that is more; at most half of each class."""
    seed: int = 0
    """Seeds which ones."""
    task: str | None = None
    """What the rows are for: image, text, tabular, translation; default: as the data look."""
    target: str | None = None
    """What a label is, as `metaweight train --target` takes it: classes, number, several, one-logit."""
    picture: str | None = None
    """Column of the pictures in a table of them."""
    columns: tuple[str, str] | None = None
    """Columns of source and target in a table of sentence pairs."""
    out: str = "trusted.csv"
    """File of the rows, a .csv; the page lies beside it. Neither may exist."""

    def __call__(self) -> None:
        out = Path(self.out)
        page = out.with_suffix(".html")
        if out.suffix.lower() != ".csv":
            raise ValueError(
                f"--out {self.out}: the rows are written as CSV: choose a name that ends in .csv"
            )
        for path in (out, page):
            if os.path.lexists(path):
                raise FileExistsError(f"{path} exists: choose another file with --out")
        task = guess_task([self.data], self.label).task if self.task is None else self.task
        _ = tasks[task]  # an unknown one is said with those that there are
        choice = Choice(
            size=self.size,
            seed=self.seed,
            label=self.label,
            target=self.target,
            picture=self.picture,
            columns=self.columns,
        )
        sample = choose(self.data, task, choice)
        text = checking_page(sample, out.name)
        with whole_file(out) as rows, whole_file(page) as shown:
            rows.write(sample.csv().encode())
            shown.write(text.encode())
        self._say(sample, out, page, task)

    def _say(self, sample: Sample, out: Path, page: Path, task: str) -> None:
        console = Terminal()
        for note in sample.notes:
            console.print(note, soft_wrap=True)
        console.print(f"{len(sample)} rows: {out}; the page to check them on: {page}", soft_wrap=True)
        label = self.label if task == "image" else sample.label or None
        given = {"task": self.task, "train": self.data, "label": label, "target": self.target}
        given |= {"picture": self.picture, "meta": str(out)}
        words = [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]
        if self.columns is not None:
            words += ["--columns", *self.columns]
        if task in ("image", "translation"):  # the others take them out of train by their place
            words += ["--overlap", "drop"]
        valid = " --valid OTHER" if task == "translation" else ""
        console.print(
            f"Check {page} in a browser, save its {out.name} over this one (or put the labels right in it). "
            f"Then: metaweight train {shlex.join(words)}{valid}",
            soft_wrap=True,
        )
        if valid:
            console.print("OTHER: trusted pairs to measure on, that are not among these", soft_wrap=True)
