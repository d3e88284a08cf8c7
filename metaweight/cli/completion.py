"""``metaweight completion``: what a shell needs to complete commands and options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional

from metaweight.cli.ahead import Ahead
from metaweight.cli.commands import COMMANDS, TASK, Command
from metaweight.cli.line import parsed


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Which script; a call prints it.  All words are in it, for a Python that imports nothing."""

    shell: Annotated[Literal["bash", "zsh", "fish"], Positional]
    """bash, zsh or fish."""
    task: str = TASK
    """The task whose options train and compare complete."""

    def __call__(self) -> None:
        ahead = Ahead(task=self.task)
        built = {name: build(ahead) for name, build in ALL.items()}
        parsed(["--tyro-write-completion", self.shell, "-"], ALL, built)


def completion(ahead: Ahead) -> Command:
    """Print the script by which a shell completes commands and options; it starts no metaweight.

    bash: metaweight completion bash > ~/.local/share/bash-completion/completions/metaweight

    zsh: metaweight completion zsh > _metaweight, in a folder of $fpath

    fish: metaweight completion fish > ~/.config/fish/completions/metaweight.fish
    """
    return Completion(shell=tyro.MISSING, task=ahead.task or TASK)


ALL = {**COMMANDS, "completion": completion}
"""Every command, this one too."""
