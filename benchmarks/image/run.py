"""Image classification with wrong labels: every teacher under every kind of noise, over seeds.

make bench-image                                   # digits, embedded: no download
make bench-image DATA=cifar10 PROFILE=standard     # METAWEIGHT_DATA names the data folder
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from metaweight.compare import Grid
from metaweight.config import config_from, parse_values
from metaweight.registry import did_you_mean
from metaweight.suite import compare

PROFILES = Path(__file__).parent / "profiles"


@dataclass(frozen=True)
class Arguments:
    """Image classification with wrong labels: every teacher under every kind of noise, over seeds."""

    data: str = "digits"
    """A data set with a file in benchmarks/image/profiles: digits, cifar10; others use digits' options."""
    profile: str = "quick"
    """quick, standard or full."""
    data_dir: str | None = None
    """Folder of the data files; default: the environment variable METAWEIGHT_DATA."""
    teachers: tuple[str, ...] = ()
    """Only these; default: the profile's."""
    noises: tuple[str, ...] = ()
    """Only these, as KIND or KIND@RATE; default: the profile's."""
    seeds: tuple[int, ...] = ()
    """Only these; default: the profile's."""
    jobs: int | None = None
    """Runs side by side; default: the profile's."""
    options: tuple[str, ...] = ()
    """Options of every run as key=value, over the profile's (epochs=5)."""
    out: str | None = None
    """Folder of the results; must not exist. Default: runs/image-DATA-PROFILE-TIME."""


def load_profile(data: str, name: str) -> dict[str, Any]:
    """One table of a profile file.  Raises KeyError for an unknown data set or profile."""
    known = sorted(path.stem for path in PROFILES.glob("*.toml"))
    if data not in known:
        raise KeyError(f"no profiles for {data!r}.{did_you_mean(data, known)}")
    profiles = tomllib.loads((PROFILES / f"{data}.toml").read_text(encoding="utf-8"))
    if name not in profiles:
        raise KeyError(f"{data} has no profile {name!r}.{did_you_mean(name, profiles)}")
    chosen: dict[str, Any] = profiles[name]
    return chosen


def build_grid(arguments: Arguments) -> tuple[Grid, int]:
    """The grid that the arguments name, and how many runs go side by side."""
    profile = load_profile(arguments.data, arguments.profile)
    run = {"data": arguments.data, **profile["run"], **parse_values(arguments.options)}
    if arguments.data_dir is not None:
        run["data_dir"] = arguments.data_dir
    grid = Grid(
        config_from(run),
        arguments.teachers or tuple(profile["teachers"]),
        arguments.noises or tuple(profile["noises"]),
        arguments.seeds or tuple(profile["seeds"]),
        profile.get("teacher", {}),
        profile.get("noise", {}),
    )
    return grid, arguments.jobs or profile.get("jobs", 1)


def main(args: Sequence[str] | None = None) -> int:
    """Run the suite; 2 for a user's mistake."""
    arguments = tyro.cli(Arguments, args=args, prog="benchmarks.image.run")
    name = f"image-{arguments.data}-{arguments.profile}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        grid, jobs = build_grid(arguments)
        compare(grid, Path(arguments.out or Path("runs") / name), jobs=jobs, console=Console())
    except KeyboardInterrupt:
        print("stopped; finished runs are in the run folder", file=sys.stderr)
        return 130
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"bench-image: {text}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
