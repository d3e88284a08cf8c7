"""A grid from a TOML table: arms, kinds of noise, seeds, options; a typo is said with its file and table."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaweight.comparison.arms import KINDS, arm_options
from metaweight.comparison.grid import Grid
from metaweight.comparison.tuning import ALL, Tuning, candidates
from metaweight.comparison.workers import require_jobs
from metaweight.core.registry import did_you_mean, require_options
from metaweight.remedies import NONE
from metaweight.tasks import tasks
from metaweight.tasks.config import config_from, with_options

KEYS = ("task", "teachers", "noises", "seeds", "jobs", "run", "teacher", "noise", "tune")
TUNE_KEYS = ("budget", "seeds", "figure", "goal")
DEFAULT_SEEDS = (0, 1, 2)
LISTED: Mapping[str, str] = {"teacher": "teachers", "noise": "noises", "seed": "seeds"}
"""Option of a run -> the list of a grid that says it."""


@dataclass(frozen=True)
class Plan:
    """What a table asks for."""

    task: str
    grid: Grid
    jobs: int | None
    """Runs side by side; None where the table does not say."""
    tuning: Tuning | None = None


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
    ``teacher.NAME`` and ``noise.KIND`` those of one arm's and one kind's, ``tune`` a Tuning.  Every error
    begins with ``where``: KeyError for an unknown key, arm or task, TypeError for an unknown option or one
    of another type, ValueError for two runs of one name and for a table of an arm or kind that no list names.
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
        if jobs is not None:
            require_jobs(jobs)
        overrides = {name: _typed(table, name, dict, {}) for name in ("teacher", "noise")}
        options = _typed(table, "run", dict, {})
    with _at(f"{where}, [run]"):
        asked = {**options, **(run or {})}
        for option, instead in LISTED.items():
            if option in asked:
                raise ValueError(f"{option} of every run is what a grid compares: list it in {instead}")
        base = config_from(task.config, asked)
    for name, listed in (("teacher", arms), ("noise", noises)):
        for key, options in overrides[name].items():
            with _at(f"{where}, [{name}.{key}]"):
                if key not in listed:
                    raise ValueError(f"{name}s does not list {key!r}.{did_you_mean(key, listed)}")
                with_options(base, options)
    grid = Grid(base, arms, noises, seeds, overrides["teacher"], overrides["noise"])
    for arm in arms:
        own = overrides["teacher"].get(arm, {})
        with _at(f"{where}, [teacher.{arm}]" if own.keys() & KINDS.keys() else f"{where}, teachers"):
            options = arm_options(arm, own)
            for kind, registry in KINDS.items():
                if options.get(kind, NONE) != NONE:
                    _ = registry[options[kind]]
    with _at(where):
        grid.cells()
    tuning = None
    if "tune" in table:
        with _at(f"{where}, [tune]"):
            tuning = _tuning(_typed(table, "tune", dict), arms)
            for arm in tuning.spaces:
                if arm not in (ALL, *arms):
                    raise ValueError(f"teachers does not list {arm!r}.{did_you_mean(arm, [ALL, *arms])}")
            candidates(grid, tuning)
    return Plan(table["task"], grid, jobs, tuning)


def _tuning(table: Mapping[str, Any], arms: Sequence[str]) -> Tuning:
    """From ``budget``, ``seeds``, ``figure``, ``goal`` and a table of lists for each arm or ``all``."""
    spaces = {key: value for key, value in table.items() if isinstance(value, dict)}
    plain = {key: value for key, value in table.items() if key not in spaces}
    require_options("tune", plain, TUNE_KEYS)
    for arm in {ALL, *TUNE_KEYS} & set(arms):
        raise ValueError(f"{arm} has a meaning of its own here: give that arm another name")
    for space in spaces.values():
        for option in space:
            _listed(space, option, object)
    if "seeds" in plain:
        plain["seeds"] = _listed(plain, "seeds", int)
    plain["budget"] = _typed(plain, "budget", int)
    for key in ("figure", "goal"):
        if key in plain:
            plain[key] = _typed(plain, key, str)
    lists = {
        arm: {option: tuple(_frozen(value) for value in values) for option, values in space.items()}
        for arm, space in spaces.items()
    }
    return Tuning(spaces=lists, **plain)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


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
    if key in ("teacher", "noise") and not all(isinstance(part, dict) for part in value.values()):
        raise TypeError(f"[{key}] holds a table for each name: write [{key}.NAME]")
    return value


def _listed(table: Mapping[str, Any], key: str, kind: Callable[..., Any]) -> tuple[Any, ...]:
    value = table.get(key)
    if not isinstance(value, list) or not value or not all(_is(part, kind) for part in value):
        wanted = {str: "names", int: "whole numbers"}.get(kind, "values")  # type: ignore[call-overload]
        raise TypeError(f"{key} is a list of {wanted} with at least one, got {value!r}")
    return tuple(value)


_WORDS: Mapping[Any, str] = {str: "a text", int: "a whole number", dict: "a table"}


def _is(value: object, kind: Any) -> bool:
    return isinstance(value, kind) and (kind is object or not isinstance(value, bool))
