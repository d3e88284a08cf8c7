"""The command of a suite: its arguments, its profiles, the grid that both name."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from metaweight.cli.places import run_folder
from metaweight.comparison.grid_file import Plan, plan
from metaweight.comparison.suite import compare
from metaweight.core.registry import did_you_mean
from metaweight.report.publication import publish
from metaweight.tasks.config import parse_values
from metaweight.training.history import Interrupted


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What every suite may be told; a suite's own class gives ``data`` a default."""

    data: str
    """A data set with a file among the suite's profiles, or of a kind that borrows one."""
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
    """Folder of the results; must not exist, without --resume. Default: runs/SUITE-DATA-PROFILE-TIME."""
    resume: bool = False
    """Go on in the folder --out: finished runs are kept, stopped ones go on."""


@dataclass(frozen=True)
class SuiteCommand:
    """One suite: ``python -m benchmarks.NAME.run``."""

    name: str
    """Its folder below benchmarks/."""
    task: str
    """The registered name of the task that its runs are of."""
    arguments: type[Arguments]
    borrowed: Mapping[str, str] = field(default_factory=dict)
    """Prefix of data of the user's own (``hf`` of hf:NAME) -> the data set whose profiles it takes."""

    @property
    def profiles(self) -> Path:
        """The folder with a file DATA.toml for each data set, a table in it for each profile."""
        return Path(__file__).parent / self.name / "profiles"

    def profile(self, data: str, name: str) -> dict[str, Any]:
        """One table of a profile file; with ``run_of`` its ``run`` goes over that of another profile.

        Raises KeyError for an unknown data set or profile.
        """
        known = sorted(path.stem for path in self.profiles.glob("*.toml"))
        prefix, colon, _ = data.partition(":")
        lender = self.borrowed.get(prefix, data) if colon else data
        if lender not in known:
            raise KeyError(f"no profiles for {data!r}.{did_you_mean(data, [*known, *self.borrowed])}")
        profiles = tomllib.loads((self.profiles / f"{lender}.toml").read_text(encoding="utf-8"))
        for wanted in (name, profiles.get(name, {}).get("run_of", name)):
            if wanted not in profiles:
                raise KeyError(f"{data} has no profile {wanted!r}.{did_you_mean(wanted, profiles)}")
        chosen: dict[str, Any] = dict(profiles[name])
        chosen["run"] = profiles[chosen.pop("run_of", name)]["run"] | chosen.get("run", {})
        return chosen

    def plan(self, arguments: Arguments) -> Plan:
        """A profile with the arguments over it.  Raises as ``metaweight.comparison.grid_file.plan``."""
        profile = self.profile(arguments.data, arguments.profile)
        run = parse_values(arguments.options)
        if arguments.data_dir is not None:
            run["data_dir"] = arguments.data_dir
        own = {"task": self.task, **profile, "run": {"data": arguments.data, **profile["run"]}}
        asked = plan(own, where=f"{arguments.data}, profile {arguments.profile}", run=run)
        grid = replace(
            asked.grid,
            teachers=arguments.teachers or asked.grid.teachers,
            noises=arguments.noises or asked.grid.noises,
            seeds=arguments.seeds or asked.grid.seeds,
        )
        return replace(asked, grid=grid, jobs=(asked.jobs or 1) if arguments.jobs is None else arguments.jobs)

    def __call__(self, args: Sequence[str] | None = None) -> int:
        """Run the suite; 2 for a user's mistake."""
        arguments = tyro.cli(self.arguments, args=args, prog=f"benchmarks.{self.name}.run")
        data = re.sub(r"[^\w.-]+", "-", arguments.data)  # tsv:PATH has signs that split a folder's name
        name = f"{self.name}-{data}-{arguments.profile}"
        try:
            asked = self.plan(arguments)
            folder = run_folder(arguments.out, name, resume=arguments.resume)
            compared = compare(
                asked.grid,
                folder,
                jobs=asked.jobs,
                console=Console(),
                resume=arguments.resume,
                tuning=asked.tuning,
            )
            publish(compared.folder, Console())
            compared.require_all()
        except (Interrupted, KeyboardInterrupt):
            print("stopped; finished runs are in the run folder", file=sys.stderr)
            return 130
        except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            print(f"bench-{self.name}: {text}", file=sys.stderr)
            return 2
        return 0
