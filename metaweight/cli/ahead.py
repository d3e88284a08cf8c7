"""What is read of a command line before its options are known, for it decides which there are."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Ahead:
    """The command, and those of its options that decide what others it has; None where they are not given."""

    command: str | None = None
    version: bool = False
    modules: list[str] = field(default_factory=list)
    """To be imported first: their parts are choices too."""
    task: str | None = None
    grid: str | None = None
    profile: str | None = None
    resume: str | None = None
    """The run folder of ``train --resume``."""
    train: list[str] = field(default_factory=list)
    """The user's own training data, one place or two files."""
    label: str | None = None

    @classmethod
    def of(cls, arguments: Sequence[str]) -> Ahead:
        """Exits with 2 for an --import that names no module; all else is for the whole parser to check."""
        parser = ArgumentParser("metaweight", usage=SUPPRESS, add_help=False, allow_abbrev=False)
        parser.add_argument("command", nargs="?")
        parser.add_argument("--version", action="store_true")
        parser.add_argument("--import", dest="modules", action="append")
        for option in ("--task", "--grid", "--profile", "--resume", "--label"):
            parser.add_argument(option, nargs="?")
        parser.add_argument("--train", nargs="*", default=[])
        return parser.parse_known_args(arguments, cls())[0]
