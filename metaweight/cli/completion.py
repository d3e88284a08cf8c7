"""``metaweight completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from metaweight.cli.ahead import Ahead
from metaweight.cli.commands import COMMANDS
from metaweight.cli.line import line_of


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Which script; a call prints it.  All words are in it, for a Python that imports nothing."""

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional]
    """bash, zsh or fish."""
    task: str = "image"
    """The task whose options train and compare complete."""

    def __call__(self) -> None:
        ahead = Ahead(task=self.task)
        line = line_of({name: build(ahead) for name, build in COMMANDS.items()})
        tyro.cli(line, prog="metaweight", args=["--tyro-write-completion", self.shell, "-"])
