"""What the suites' commands do with a user's mistake."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from metaweight import MetaweightError

MISTAKES = (ValueError, KeyError, FileExistsError, MetaweightError)


def exit_code(work: Callable[[], object], *more: type[Exception]) -> int:
    """0 when ``work()`` is done, 2 for a mistake (or one of ``more``), whose message tells how to mend it."""
    try:
        work()
    except (*MISTAKES, *more) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        Console(stderr=True).print(str(message), style="red", markup=False, soft_wrap=True)
        return 2
    return 0
