"""A grid from a TOML file: arms, kinds of noise, seeds, options; a typo is said with its file and table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from metaweight.comparison.arms import KINDS, arm_options
from metaweight.comparison.cells import check_options
from metaweight.comparison.grid import Grid
from metaweight.comparison.tuning import ALL, Tuning, candidates
from metaweight.core.jobs import require_jobs
from metaweight.core.options import Options, checked_options, converted
from metaweight.core.plugins import import_modules
from metaweight.core.registry import did_you_mean
from metaweight.remedies import NONE
from metaweight.tasks import tasks
from metaweight.tasks.config import with_options

LISTED: Mapping[str, str] = {"teacher": "arms", "noise": "noises", "seed": "seeds"}
"""Option of a run -> the list of a grid that says it."""
RENAMED: Mapping[str, str] = {"teachers": "arms", "teacher": "arm"}
"""Key of a table once -> today."""


@dataclass(frozen=True, kw_only=True)
class GridTable:
    """What a grid file may say: its keys and their types."""

    arms: tuple[str, ...]
    noises: tuple[str, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    task: str = "image"
    imports: tuple[str, ...] = ()
    """Modules that register what the grid names."""
    jobs: int | None = None
    """Runs side by side."""
    run: Options = field(default_factory=dict)
    """Options of every run."""
    arm: Options = field(default_factory=dict)
    """Arm -> options of its runs."""
    noise: Options = field(default_factory=dict)
    """Kind of noise -> options of its runs."""
    tune: Options | None = None
    """A Tuning, with a table of lists for each arm or ``all``."""


@dataclass(frozen=True, kw_only=True)
class Profile(GridTable):
    """One of several grids in a file, whose other keys are those of every profile."""

    run_of: str | None = None
    """The profile over whose ``run`` goes that of this one."""


@dataclass(frozen=True)
class Plan:
    """What a table asks for."""

    task: str
    grid: Grid
    jobs: int | None
    """Runs side by side; None where the table does not say."""
    tuning: Tuning | None = None


def read_plan(path: Path, *, task: str | None = None, profile: str | None = None) -> Plan:
    """The plan in a TOML file that is a grid, or holds some, one of which is the ``profile``.

    ``task``: what the command line says; the file may leave it out, or say the same.  Raises
    FileNotFoundError, with the nearest file, KeyError for an unknown profile, ValueError, with all profiles,
    where none is named, and as ``plan`` with the file's name.
    """
    table, where = read_table(path, profile)
    if task is not None and table.get("task", task) != task:
        raise ValueError(f"{path} is for the task {table['task']!r}, --task says {task!r}")
    return plan({"task": task or GridTable.task, **table}, where=where)


def read_toml(path: Path) -> Mapping[str, Any]:
    """What a TOML file says.  Raises FileNotFoundError, with the nearest file, and ValueError for no TOML."""
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*.toml")]
        raise FileNotFoundError(f"{path}: there is no such file.{did_you_mean(path.name, beside)}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None


def read_table(path: Path, profile: str | None) -> tuple[Mapping[str, Any], str]:
    """The keys of a GridTable as a TOML file has them for ``profile``, some perhaps left out, and where.

    Raises as ``read_plan`` does for the file and its profile.
    """
    file = read_toml(path)
    where = str(path) if profile is None else f"{path}, profile {profile}"
    with _at(where):
        return _profile(file, profile), where


def _profile(file: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    """The table of one grid: the file, or a profile with the keys of all and the ``run`` that it takes."""
    keys = {key.name for key in fields(GridTable)}.union(RENAMED)
    profiles = {key: table for key, table in file.items() if isinstance(table, dict) and key not in keys}
    if not profiles or {"arms", "noises", "teachers"} & file.keys():
        if name is not None:
            raise KeyError(f"there is no profile {name!r}, for the file is one grid: leave --profile out")
        return file
    if name is None:
        raise ValueError(f"name one of its profiles with --profile: {', '.join(profiles)}")
    for profile in (name, profiles.get(name, {}).get("run_of", name)):
        if profile not in profiles:
            raise KeyError(f"there is no profile {profile!r}.{did_you_mean(profile, profiles)}")
    own = _checked("a profile", Profile, profiles[name])
    lender = _checked("a profile", Profile, profiles[own.pop("run_of", name)])
    every = {key: value for key, value in file.items() if key not in profiles}
    every = _checked("a file of profiles", GridTable, every)
    run = {key: value for table in (every, lender, own) for key, value in table.get("run", {}).items()}
    return {**every, **own, "run": run}


def plan(table: Mapping[str, Any], *, where: str) -> Plan:
    """A grid from the keys of a GridTable.

    Every error begins with ``where``: KeyError for an unknown arm or task, TypeError for an unknown key or
    option or one of another type, ValueError for two runs of one name and for a table of an arm or kind that
    no list names.
    """
    with _at(where):
        grid_table = GridTable(**_checked("a grid", GridTable, {"arms": None, "noises": None, **table}))
        import_modules(grid_table.imports)
        task = tasks[grid_table.task]
        if grid_table.jobs is not None:
            require_jobs(grid_table.jobs)
    with _at(f"{where}, [run]"):
        for option, instead in LISTED.items():
            if option in grid_table.run:
                raise ValueError(f"{option} of every run is what a grid compares: list it in {instead}")
        base = with_options(task.config(), grid_table.run)
    for name, listed, own in (
        ("arm", grid_table.arms, grid_table.arm),
        ("noise", grid_table.noises, grid_table.noise),
    ):
        for key, options in own.items():
            with _at(f"{where}, [{name}.{key}]"):
                if not isinstance(options, dict):
                    raise TypeError(f"[{name}] holds a table for each name: write [{name}.NAME]")
                if key not in listed:
                    raise ValueError(f"{name}s does not list {key!r}.{did_you_mean(key, listed)}")
                with_options(base, options)
    for arm in grid_table.arms:
        own = grid_table.arm.get(arm, {})
        with _at(f"{where}, [arm.{arm}]" if own.keys() & KINDS.keys() else f"{where}, arms"):
            options = arm_options(arm, own)
            for kind, registry in KINDS.items():
                if options.get(kind, NONE) != NONE:
                    _ = registry[options[kind]]
    grid = Grid(base, grid_table.arms, grid_table.noises, grid_table.seeds, grid_table.arm, grid_table.noise)
    with _at(where):
        cells = grid.cells()
    for cell in cells[: len(grid.arms) * len(grid.noises)]:  # those of the first seed; the others are alike
        with _at(f"{where}, [arm.{cell.arm}]" if cell.arm in grid_table.arm else f"{where}, arm {cell.arm}"):
            check_options(cell.config)
    tuning = None
    if grid_table.tune is not None:
        with _at(f"{where}, [tune]"):
            tuning = _tuning(grid_table.tune, grid_table.arms)
            candidates(grid, tuning)
    return Plan(grid_table.task, grid, grid_table.jobs, tuning)


def _tuning(table: Options, arms: Sequence[str]) -> Tuning:
    """From ``budget``, ``seeds``, ``figure``, ``goal`` and a table of lists for each arm or ``all``."""
    spaces = {key: value for key, value in table.items() if isinstance(value, dict)}
    plain = {key: value for key, value in table.items() if key not in spaces}
    plain = checked_options("tune", Tuning, {"budget": None, **plain}, beside=["spaces"])
    for arm in {ALL, *(key.name for key in fields(Tuning))} & set(arms):
        raise ValueError(f"{arm} has a meaning of its own here: give that arm another name")
    for arm, space in spaces.items():
        if arm not in (ALL, *arms):
            raise ValueError(f"arms does not list {arm!r}.{did_you_mean(arm, [ALL, *arms])}")
        spaces[arm] = {
            option: converted(f"tune.{arm}", option, values, tuple[Any, ...])
            for option, values in space.items()
        }
    return Tuning(spaces=spaces, **plain)


def _checked(owner: str, kind: type[GridTable], table: Mapping[str, Any]) -> dict[str, Any]:
    for old, new in RENAMED.items():
        if old in table:
            raise KeyError(f"there is no key {old!r}: it is called {new!r} now")
    return checked_options(owner, kind, table)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Put where it is before the text of a mistake."""
    try:
        yield
    except (ImportError, KeyError, TypeError, ValueError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        raise type(error)(f"{where}: {text}") from None
