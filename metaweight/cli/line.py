"""The whole command line as a type that tyro makes parser, help and completion from."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any

import tyro
from tyro.conf import CascadeSubcommandArgs, FlagCreatePairsOff, UseAppendAction, arg

from metaweight.cli.ahead import Ahead
from metaweight.cli.commands import Command
from metaweight.cli.spelling import key_value
from metaweight.core.console import LEAST


@dataclass(frozen=True, kw_only=True)
class Line:
    """Learn a weight for every training sample from a small trusted set.

    Exit codes: 0 done, 1 an error of ours, 2 a mistake of yours or runs that failed, 130 Ctrl-C.
    METAWEIGHT_TRACEBACK=1 shows where an error came from.

    Commands and options are completed by bash, zsh and fish: see metaweight completion --help.
    """

    version: FlagCreatePairsOff[bool] = False
    """Print the version."""
    modules: CascadeSubcommandArgs[
        Annotated[UseAppendAction[tuple[str, ...]], arg(name="import", metavar="MODULE")]
    ] = ()
    """Import a module, or a file my_teachers.py, that registers parts of your own: teachers, engines, models,
    tasks."""


@dataclass(frozen=True)
class Unbuilt:
    """A command that nobody asked for."""


def parsed(
    arguments: Sequence[str], known: Mapping[str, Callable[[Ahead], Command]], built: Mapping[str, Command]
) -> Command:
    """The command that ``arguments`` ask for, of those that are ``built``; the help names all ``known``.

    Exits with 0 after a help, with 2 where there is no such command or option.
    """
    about = {name: inspect.getdoc(command) or "" for name, command in known.items()}
    commands: Any = tyro.extras.subcommand_type_from_defaults(
        {name: built.get(name, Unbuilt()) for name in known},
        {name: text if name in built else text.split("\n\n")[0] for name, text in about.items()},
        prefix_names=False,
    )
    fields = [("command", Annotated[commands, arg(name="")])]
    line = make_dataclass("Line", fields, bases=(Line,), kw_only=True, frozen=True)
    line.__doc__ = Line.__doc__
    if shutil.get_terminal_size().columns < LEAST:  # tyro's help finds no end in a few columns
        os.environ["COLUMNS"] = str(LEAST)
    command: Command = tyro.cli(line, prog="metaweight", args=arguments, registry=key_value).command
    return command
