"""The suite's sets and arms, a file each: what is run of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from metaweight.comparison.grid_file import Plan, plan, read_table, read_toml
from metaweight.core.options import Options, checked_options
from metaweight.core.registry import did_you_mean

HERE = Path(__file__).parent
SETS, ARMS, PROFILES = HERE / "sets", HERE / "arms", HERE / "profiles.toml"


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A table of profiles.toml."""

    seeds: tuple[int, ...]
    budget: int | None = None
    """Candidates of each arm; None: nothing is tuned."""
    tuned_on: tuple[int, ...] = (1000,)
    """Seeds of the tuning."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A file of arms/: its name is the arm's."""

    about: str
    """What it does, in a sentence."""
    profiles: tuple[str, ...]
    """Those that have it; an arm of none is there to be named."""
    imports: tuple[str, ...] = ()
    """Modules that register what it is made of."""
    tasks: tuple[str, ...] | None = None
    """Those that can; None: all."""
    run: Options = field(default_factory=dict)
    """Options of its runs; of a name that no registry has, its teacher, remedy or loss."""
    tune: Options = field(default_factory=dict)
    """Option -> values to choose from, beside those of the set."""


@dataclass(frozen=True)
class SetPlan:
    """One set under one profile."""

    name: str
    plan: Plan


def names(folder: Path) -> tuple[str, ...]:
    """Of the files in ``SETS`` or ``ARMS``."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def profile(name: str) -> Profile:
    """Raises KeyError, with the nearest one, for an unknown profile."""
    file = read_toml(PROFILES)
    if name not in file:
        raise KeyError(f"there is no profile {name!r}.{did_you_mean(name, file)}")
    return Profile(**checked_options(f"profile {name}", Profile, file[name]))


def arms(chosen: Sequence[str] = (), *, of: str) -> dict[str, Arm]:
    """Those of the profile ``of``, or the ``chosen`` ones; plain training, which all is held against, first.

    Raises KeyError, with the nearest one, for an unknown arm.
    """
    files = {name: _arm(name) for name in _known(chosen or names(ARMS), ARMS, "arm")}
    kept = {name: arm for name, arm in files.items() if chosen or of in arm.profiles}
    return dict(sorted(kept.items(), key=lambda one: one[0] != "uniform"))


def plans(
    of: str, chosen: Sequence[str] = (), compared: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[SetPlan]:
    """The grids of a profile: all sets that have it, or the ``chosen`` ones; all its arms, or ``compared``.

    ``seeds``: in place of the profile's.  Raises KeyError for an unknown name, ValueError for a chosen set
    without the profile, and as ``plan`` with the file's name.
    """
    shared, all_arms = profile(of), arms(compared, of=of)
    found = []
    for name in _known(chosen or names(SETS), SETS, "set"):
        path = SETS / f"{name}.toml"
        if of not in read_toml(path):
            if chosen:
                raise ValueError(f"{path} has no profile {of!r}: leave {name} out")
            continue
        table, where = read_table(path, of)
        task = table["task"]
        able = {name: arm for name, arm in all_arms.items() if arm.tasks is None or task in arm.tasks}
        found.append(SetPlan(name, plan(_with(table, able, shared, seeds), where=where)))
    return found


def _with(table: Any, able: dict[str, Arm], shared: Profile, seeds: Sequence[int]) -> dict[str, Any]:
    """The set's table with arms, seeds and tuning."""
    of_set = table.get("tune", {})
    whole = {
        **table,
        "arms": list(able),
        "seeds": list(seeds or shared.seeds),
        "imports": [
            *dict.fromkeys((*table.get("imports", ()), *chain(*(arm.imports for arm in able.values()))))
        ],
        "arm": {name: dict(arm.run) for name, arm in able.items() if arm.run},
    }
    whole.pop("tune", None)
    if shared.budget is not None:
        own = {name: arm.tune for name, arm in able.items() if arm.tune}
        whole["tune"] = {"budget": shared.budget, "seeds": list(shared.tuned_on), **of_set, **own}
    return whole


def _arm(name: str) -> Arm:
    path = ARMS / f"{name}.toml"
    return Arm(**checked_options(str(path), Arm, read_toml(path)))


def _known(wanted: Sequence[str], folder: Path, what: str) -> Sequence[str]:
    there = names(folder)
    for name in wanted:
        if name not in there:
            raise KeyError(f"unknown {what} {name!r}.{did_you_mean(name, there)}")
    return wanted
