"""``metaweight completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional

from metaweight.cli.ahead import Ahead
from metaweight.cli.commands import COMMANDS
from metaweight.cli.line import parsed


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Which script; a call prints it.  All words are in it, for a Python that imports nothing."""

    shell: Annotated[Literal["bash", "zsh", "fish"], Positional]
    """bash, zsh or fish."""
    task: str = "image"
    """The task whose options train and compare complete."""

    def __call__(self) -> None:
        ahead = Ahead(task=self.task)
        commands = {name: build(ahead) for name, build in COMMANDS.items()}
        parsed(["--tyro-write-completion", self.shell, "-"], commands)
