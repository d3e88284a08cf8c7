"""The command line: metaweight train | translate | score | compare | report | suspects | ..."""

from __future__ import annotations

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import tyro
from rich import get_console
from rich.console import Console

from metaweight.cli import Compare, Engines, Remedies, Report, Score, Suspects, Teachers, Train, Translate
from metaweight.cli.spelling import key_value
from metaweight.comparison.grid_file import read_plan
from metaweight.core.contracts import CollapseWarning, MetaweightError
from metaweight.core.version import __version__
from metaweight.tasks import tasks
from metaweight.training.history import Interrupted

USER_ERRORS = (MetaweightError, ValueError, KeyError, TypeError, OSError, ImportError)
DESCRIPTION = (
    "Learn a weight for every training sample from a small trusted set. "
    "Exit codes: 0 done, 1 an error of ours, 2 a mistake of yours or runs that failed, 130 Ctrl-C. "
    "METAWEIGHT_TRACEBACK=1 shows where an error came from."
)


def commands(
    task: str | None, grid: str | None = None, profile: str | None = None
) -> Mapping[str, Callable[[], None]]:
    """Every command with the options that it has for a task; those of ``compare`` begin as a grid file says.

    Raises KeyError for an unknown task, and as ``read_plan``.
    """
    compare = None
    if grid is not None:
        compare = Compare.of(read_plan(Path(grid), task=task, profile=profile), grid, profile)
    task = compare.task if compare is not None else task or "image"
    config = tasks[task].config()
    return {
        "train": Train(task=task, run=config),
        "compare": compare or Compare(task=task, run=config, noises=tasks[task].noises),
        "report": Report(run=tyro.MISSING),
        "suspects": Suspects(run=tyro.MISSING),
        "translate": Translate(run=tyro.MISSING),
        "score": Score(hypothesis=tyro.MISSING, reference=tyro.MISSING),
        "teachers": Teachers(),
        "engines": Engines(),
        "remedies": Remedies(),
    }


def chosen(arguments: Sequence[str], option: str) -> str | None:
    """What ``--option VALUE`` or ``--option=VALUE`` says; task and grid decide what else there is."""
    found = None
    for argument, following in zip(arguments, [*arguments[1:], None], strict=True):
        flag, equals, value = argument.partition("=")
        if flag == option:
            found = value if equals else following
    return found


def main(args: Sequence[str] | None = None) -> int:
    """Run a command; 0 when it did its work, 2 for a user's mistake, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if args is None else args) or ["--help"]
    if arguments == ["--version"]:
        print(__version__)
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("once", CollapseWarning)
        try:
            grid = chosen(arguments, "--grid") if arguments[:1] == ["compare"] else None
            known = commands(chosen(arguments, "--task"), grid, chosen(arguments, "--profile"))
            about = {name: inspect.getdoc(command) or "" for name, command in known.items()}
            command = tyro.cli(
                tyro.extras.subcommand_type_from_defaults(known, about),
                prog="metaweight",
                description=DESCRIPTION,
                args=arguments,
                registry=key_value,
            )
            command()
        except (Interrupted, KeyboardInterrupt) as stop:
            get_console().print(str(stop) or "stopped", style="yellow", highlight=False, soft_wrap=True)
            return 130
        except USER_ERRORS as error:
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
