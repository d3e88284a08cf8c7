"""One table from several run folders of a suite that differ in their seeds alone.

python -m benchmarks.join benchmarks/results/NAME runs/first-seed runs/other-seeds
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from metaweight.comparison.arms import arm_options, group_of
from metaweight.core.csv_text import read_csv
from metaweight.report.publication import write_statistics, write_table
from metaweight.report.tables import aggregate
from metaweight.tasks import tasks
from metaweight.tasks.outcome import Result

KEYS = ("noise", "arm", "seed")


@dataclass(frozen=True)
class Part:
    """A run folder's figures and what they were got with."""

    folder: Path
    manifest: Mapping[str, Any]
    results: tuple[Result, ...]

    @staticmethod
    def read(folder: Path) -> Part:
        """Raises FileNotFoundError where ``folder`` has no runs.csv or manifest.json."""
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        return Part(folder, manifest, tuple(map(_result, read_csv(folder / "runs.csv"))))


def _result(row: Mapping[str, str]) -> Result:
    figures = {name: float(value) if value else None for name, value in row.items() if name not in KEYS}
    return Result(row["arm"], row["noise"], int(row["seed"]), figures)


def join(parts: Sequence[Part], out: Path) -> str:
    """Write tables, statistics, runs.csv and every part's manifest into the new folder ``out``; the table.

    Raises ValueError where two parts differ in more than their seeds, or have a run in common.
    """
    first = parts[0]
    for part in parts[1:]:
        for name, ours, theirs in _differences(first.manifest["config"], part.manifest["config"]):
            raise ValueError(f"{part.folder} has {name} {theirs!r}, {first.folder} has {ours!r}: not joined")
    shown = tasks[first.manifest.get("task", "image")].presentation
    results = [result for part in parts for result in part.results]
    table = aggregate(results, shown.columns)
    heading = (parts[-1].folder / "table.md").read_text(encoding="utf-8").splitlines()[0]
    out.mkdir(parents=True)
    text = write_table(out, heading, table, results)
    overrides = first.manifest["config"].get("overrides", {})
    arms = dict.fromkeys(result.arm for result in results)
    groups = {arm: group_of(arm, arm_options(arm, overrides.get(arm, {}))) for arm in arms}
    write_statistics(out, heading, results, shown.compared, groups=groups)
    for part in parts:
        seeds = "-".join(str(seed) for seed in sorted({result.seed for result in part.results}))
        shutil.copyfile(part.folder / "manifest.json", out / f"manifest.seeds-{seeds}.json")
    return text


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Options that both name and that are not equal; one that only a newer version has is at its default."""
    found = []
    for name in ours.keys() & theirs.keys() - {"seeds", "seed", "data_dir"}:
        one, other = ours[name], theirs[name]
        if isinstance(one, dict) and isinstance(other, dict):
            found += [(f"{name}.{key}", a, b) for key, a, b in _differences(one, other)]
        elif one != other:
            found.append((name, one, other))
    return found


@dataclass(frozen=True)
class Arguments:
    """One table from several run folders of a suite that differ in their seeds alone."""

    out: Annotated[Path, tyro.conf.Positional]
    """Folder of the joined table; must not exist."""
    parts: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders, or folders of benchmarks/results."""


def main(args: Sequence[str] | None = None) -> int:
    """Join; 2 for a user's mistake."""
    arguments = tyro.cli(Arguments, args=args, prog="benchmarks.join")
    try:
        print(join([Part.read(folder) for folder in arguments.parts], arguments.out))
    except (ValueError, OSError) as error:
        print(f"join: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
