"""The command line: metaweight train | translate | score | compare | report | suspects | ..."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from rich import get_console
from rich.console import Console

from metaweight.cli.ahead import Ahead
from metaweight.cli.completion import ALL
from metaweight.cli.line import parsed
from metaweight.core.version import __version__


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did its work, 2 for a user's mistake or runs that failed, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
    ahead = Ahead.of(arguments)
    if ahead.version:
        print(__version__)
        return 0
    if ahead.command not in ALL:
        parsed(
            arguments, ALL, {}
        )  # exits, with the help or with what is wrong: torch is not imported for that
    return _run(ahead, arguments)


def _run(ahead: Ahead, arguments: Sequence[str]) -> int:
    from metaweight.core.contracts import CollapseWarning, MetaweightError
    from metaweight.core.plugins import import_modules
    from metaweight.training.history import Interrupted

    assert ahead.command is not None
    with warnings.catch_warnings():
        warnings.simplefilter("once", CollapseWarning)
        try:
            import_modules(ahead.modules)
            command = parsed(arguments, ALL, {ahead.command: ALL[ahead.command](ahead)})
            command()
        except (Interrupted, KeyboardInterrupt) as stop:
            get_console().print(str(stop) or "stopped", style="yellow", highlight=False, soft_wrap=True)
            return 130
        except (MetaweightError, ValueError, KeyError, TypeError, OSError, ImportError) as error:
            if os.environ.get("METAWEIGHT_TRACEBACK"):
                raise
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            Console(stderr=True).print(
                f"metaweight: {text}", style="red", highlight=False, markup=False, soft_wrap=True
            )
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
