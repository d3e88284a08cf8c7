"""Tables of several run folders joined: the figures of one run of all seeds, or a refusal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.join import main
from metaweight.comparison.arms import Group
from metaweight.report.statistics.standings import standings, standings_to_csv, standings_to_markdown
from metaweight.report.tables import aggregate, runs_to_csv, to_csv, to_markdown
from metaweight.tasks import tasks
from metaweight.tasks.outcome import Result

SHOWN = tasks["image"].presentation
GROUPS: dict[str, Group] = {"uniform": "plain", "memory": "internal"}


def results(seeds: tuple[int, ...]) -> list[Result]:
    return [
        Result(
            teacher, "none", s, {"accuracy": 90.0 + s + len(teacher), "auroc": None, "cost": 1.0, "extra": s}
        )
        for s in seeds
        for teacher in ("uniform", "memory")
    ]


def part(folder: Path, seeds: tuple[int, ...], **options: object) -> Path:
    folder.mkdir()
    config = {"base": {"epochs": 3, "seed": 0} | options, "teachers": ["uniform", "memory"], "seeds": seeds}
    (folder / "manifest.json").write_text(json.dumps({"task": "image", "config": config}))
    (folder / "runs.csv").write_text(runs_to_csv(results(seeds), SHOWN.columns))
    (folder / "table.md").write_text("# digits\n\nold")
    return folder


def test_the_joined_table_is_that_of_one_run_of_all_seeds(tmp_path: Path) -> None:
    # the second part comes from a version with one more option
    parts = [part(tmp_path / "a", (0,)), part(tmp_path / "b", (1, 2), betas=[0.9, 0.999])]
    assert main([str(tmp_path / "out"), *map(str, parts)]) == 0
    whole = aggregate(results((0, 1, 2)), SHOWN.columns)
    assert (tmp_path / "out" / "table.md").read_text() == f"# digits\n\n{to_markdown(whole)}"
    assert (tmp_path / "out" / "table.csv").read_text() == to_csv(whole)
    found = standings(results((0, 1, 2)), SHOWN.compared, groups=GROUPS)
    assert found is not None
    assert (tmp_path / "out" / "statistics.md").read_text() == f"# digits\n\n{standings_to_markdown(found)}"
    assert (tmp_path / "out" / "statistics.csv").read_text() == standings_to_csv(found)
    manifests = sorted(path.name for path in (tmp_path / "out").glob("manifest.*"))
    assert manifests == ["manifest.seeds-0.json", "manifest.seeds-1-2.json"]


def test_parts_that_do_not_belong_together_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = part(tmp_path / "a", (0,))
    for other, message in (
        (part(tmp_path / "b", (1,), epochs=4), "base.epochs 4"),
        (part(tmp_path / "c", (0,)), "seed 0 twice"),
        (tmp_path / "nowhere", "nowhere"),
    ):
        assert main([str(tmp_path / "out"), str(first), str(other)]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
