"""``python -m docs.pictures NAME``: train and draw pictures of the gallery."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from benchmarks.command import exit_code
from docs.pictures.catalogue import GALLERY, PICTURES, make

console = Console()


@dataclass(frozen=True)
class Options:
    """Trains on one core, a few minutes at most, and draws what came out; the same picture each time."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Pictures; without a name all of them."""
    out: Path = GALLERY
    """Folder that NAME.png is written into."""
    list: bool = False
    """Only print the names."""


def run(options: Options) -> None:
    """Make or list them."""
    for name in options.names or PICTURES:
        console.print(str(name if options.list else make(name, options.out)), soft_wrap=True, highlight=False)


def main(args: Sequence[str] | None = None) -> int:
    """0 when it did its work, 2 for a mistake that the message tells how to mend."""
    return exit_code(lambda: run(tyro.cli(Options, args=args, prog="python -m docs.pictures")))


if __name__ == "__main__":
    sys.exit(main())
