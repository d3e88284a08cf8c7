"""A grid from a TOML table: arms, kinds of noise, seeds, options; a typo is said with its file and table."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaweight.compare import Grid
from metaweight.config import config_from, with_options
from metaweight.registry import did_you_mean
from metaweight.tasks import tasks
from metaweight.teachers.base import registry as teachers

KEYS = ("task", "teachers", "noises", "seeds", "jobs", "run", "teacher", "noise")
DEFAULT_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Plan:
    """What a table asks for."""

    task: str
    grid: Grid
    jobs: int | None
    """Runs side by side; None where the table does not say."""


def read_plan(path: Path, *, task: str | None = None) -> Plan:
    """The plan in a TOML file.  Raises FileNotFoundError, and as ``plan`` with the file's name.

    ``task``: what the command line says; the file may leave it out, or say the same.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None
    if task is not None and table.get("task", task) != task:
        raise ValueError(f"{path} is for the task {table['task']!r}, --task says {task!r}")
    return plan({"task": task or "image", **table}, where=str(path))


def plan(table: Mapping[str, Any], *, where: str, run: Mapping[str, Any] | None = None) -> Plan:
    """A grid from the keys KEYS; ``run`` goes over the options of the table ``run``.

    ``teachers`` and ``noises`` are the arms and kinds of noise, ``run`` the options of every run,
    ``teacher.NAME`` and ``noise.KIND`` those of one arm's and one kind's.  Every error begins with ``where``:
    KeyError for an unknown key, arm or task, TypeError for an unknown option or one of another type,
    ValueError for two runs of one name and for a table of an arm or kind that no list names.
    """
    with _at(where):
        for key in table:
            if key not in KEYS:
                raise KeyError(f"there is no key {key!r}.{did_you_mean(key, KEYS)}")
        task = tasks[_typed(table, "task", str)]
        arms = _listed(table, "teachers", str)
        noises = _listed(table, "noises", str)
        seeds = _listed(table, "seeds", int) if "seeds" in table else DEFAULT_SEEDS
        jobs = _typed(table, "jobs", int) if "jobs" in table else None
        if jobs is not None and jobs < 1:
            raise ValueError(f"jobs is a positive number of runs side by side, got {jobs}")
        overrides = {name: _typed(table, name, dict, {}) for name in ("teacher", "noise")}
        options = _typed(table, "run", dict, {})
    with _at(f"{where}, [run]"):
        base = config_from(task.config, {**options, **(run or {})})
    for name, listed in (("teacher", arms), ("noise", noises)):
        for key, options in overrides[name].items():
            with _at(f"{where}, [{name}.{key}]"):
                if key not in listed:
                    raise ValueError(f"{name}s does not list {key!r}.{did_you_mean(key, listed)}")
                with_options(base, options)
    grid = Grid(base, arms, noises, seeds, overrides["teacher"], overrides["noise"])
    for arm in arms:
        own = "teacher" in overrides["teacher"].get(arm, {})
        with _at(f"{where}, [teacher.{arm}]" if own else f"{where}, teachers"):
            _ = teachers[overrides["teacher"][arm]["teacher"] if own else arm]
    with _at(where):
        grid.cells()
    return Plan(table["task"], grid, jobs)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Put where it is before the text of a mistake."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise type(error)(f"{where}: {text}") from None


def _typed(table: Mapping[str, Any], key: str, kind: Callable[..., Any], missing: Any = None) -> Any:
    value = table.get(key, missing)
    if not _is(value, kind):
        raise TypeError(f"{key} is {_WORDS[kind]}, got {value!r}")
    if kind is dict and not all(isinstance(part, dict) for part in value.values()) and key != "run":
        raise TypeError(f"[{key}] holds a table for each name: write [{key}.NAME]")
    return value


def _listed(table: Mapping[str, Any], key: str, kind: Callable[..., Any]) -> tuple[Any, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not value or not all(_is(part, kind) for part in value):
        wanted = "names" if kind is str else "whole numbers"
        raise TypeError(f"{key} is a list of {wanted} with at least one, got {value!r}")
    return tuple(value)


_WORDS: Mapping[Any, str] = {str: "a text", int: "a whole number", dict: "a table"}


def _is(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
