"""The command line: metaweight train | translate | score | compare | report | suspects | ..."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext

from metaweight.cli.ahead import Ahead
from metaweight.cli.commands import KEEPING
from metaweight.cli.completion import ALL
from metaweight.cli.line import parsed
from metaweight.cli.streams import loss, steady_streams
from metaweight.core.console import Terminal
from metaweight.core.launched import started_as
from metaweight.core.version import __version__


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did its work, 2 for a user's mistake or runs that failed, 130 after Ctrl-C.

    ``doctor`` has a code of its own, 1, where a self-test fails.
    A display that cannot be written changes nothing of it, but where it is all that the command gives: 2.
    """
    arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
    with steady_streams() as out:
        if _follows():
            out.hush()
        ahead, ended = Ahead(), None
        try:
            ahead = Ahead.of(arguments)
            code = _main(ahead, arguments)
        except SystemExit as stop:  # after a help, or a mistake in an option
            ended = stop
        out.flush()
        if (lost := loss(out)) is not None:
            kept = ended is None and ahead.command in KEEPING
            _complain(f"{lost}{'; the files are not touched by that' if kept else ''}")
            if not kept:
                return 2
    if ended is not None:
        raise ended
    return code


def _main(ahead: Ahead, arguments: Sequence[str]) -> int:
    if ahead.version:
        print(__version__)
        return 0
    if ahead.command not in ALL:
        parsed(
            arguments, ALL, {}
        )  # exits, with the help or with what is wrong: torch is not imported for that
    return _run(ahead, arguments)


def _run(ahead: Ahead, arguments: Sequence[str]) -> int:
    from metaweight.core.contracts import CollapseWarning, LostProcessError, MetaweightError
    from metaweight.core.counting import counting_on
    from metaweight.core.plugins import import_modules
    from metaweight.training.history import Interrupted

    assert ahead.command is not None
    with warnings.catch_warnings():
        warnings.simplefilter("once", CollapseWarning)
        try:
            import_modules(ahead.modules)
            command = parsed(arguments, ALL, {ahead.command: ALL[ahead.command](ahead)})
            # a comparison has a display of its own on all the time
            with nullcontext() if ahead.command == "compare" else counting_on(Terminal()):
                code = command()
        except (Interrupted, KeyboardInterrupt) as stop:
            Terminal().print(str(stop) or "stopped", style="yellow", soft_wrap=True)
            return 130
        except (MetaweightError, ValueError, KeyError, TypeError, OSError, ImportError) as error:
            if os.environ.get("METAWEIGHT_TRACEBACK"):
                raise
            if _follows() and not isinstance(error, LostProcessError | OSError):
                return 2  # all of them raise it
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            _complain(str(text))
            return 2
    return code or 0


def _follows() -> bool:
    """Whether this process was started beside a first one, which speaks for all."""
    return started_as()[0] > 0


def _complain(text: str) -> None:
    Terminal(stderr=True).print(f"metaweight: {text}", style="red", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
