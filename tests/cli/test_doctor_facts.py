"""What metaweight doctor looks up: limits of containers, distributions, plug-ins, code of higher, runs."""

from __future__ import annotations

from pathlib import Path

import higher
import pytest
import torch
from packaging.specifiers import SpecifierSet

from metaweight.cli.main import main
from metaweight.doctor.higher_source import changed_files, higher_here
from metaweight.doctor.limits import cpu_quota, memory_limit
from metaweight.doctor.machine import usable
from metaweight.doctor.plug_ins import plug_ins_here
from metaweight.doctor.run_folders import other_forms
from metaweight.doctor.versions import state_of, versions_here


def test_a_container_has_the_narrowest_of_its_groups(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    inner = root / "slice" / "pod"
    inner.mkdir(parents=True)
    own.write_text("0::/slice/pod\n")
    assert (cpu_quota(root, own), memory_limit(root, own)) == (None, None)
    (inner / "cpu.max").write_text("max 100000\n")
    (inner / "memory.max").write_text("max\n")
    assert (cpu_quota(root, own), memory_limit(root, own)) == (None, None)
    (root / "slice" / "cpu.max").write_text("150000 100000\n")
    (root / "cpu.max").write_text("400000 100000\n")
    (inner / "memory.max").write_text("2147483648\n")
    assert (cpu_quota(root, own), memory_limit(root, own)) == (1.5, 1 << 31)
    assert cpu_quota(root, tmp_path / "none") is None


def test_a_container_of_version_1_too(tmp_path: Path) -> None:
    own, root = tmp_path / "own", tmp_path / "cgroup"
    own.write_text("5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n")
    (root / "cpu").mkdir(parents=True)  # a container sees its own group as the root
    (root / "memory").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert (cpu_quota(root, own), memory_limit(root, own)) == (None, None)
    (root / "cpu" / "cpu.cfs_quota_us").write_text("250000\n")
    (root / "memory" / "memory.limit_in_bytes").write_text("1000\n")
    assert (cpu_quota(root, own), memory_limit(root, own)) == (2.5, 1000)


def test_shares_of_a_cpu_leave_one() -> None:
    assert [usable(8, None), usable(8, 2.5), usable(2, 4.0), usable(8, 0.2)] == [8, 3, 2, 1]


def distribution(
    folder: Path, name: str, *, requires: tuple[str, ...] = (), points: str = "", record: str = ""
) -> None:
    """The metadata of one that is installed in ``folder``."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    lines = [
        f"Name: {name}",
        "Version: 1.0",
        "Requires-Python: >=3.11",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
    (info / "entry_points.txt").write_text(points)
    (info / "RECORD").write_text(record)


def test_what_is_asked_for_is_read_from_the_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = (
        "numpy>=99",
        "no-such-thing>=1",
        "torch>=2.4,<3",
        'msgspec<0.1; extra == "lightning"',
        'absent-thing>1; extra == "lightning"',
        'pytest>=99; extra == "dev"',
        'rich>=99; sys_platform == "nowhere"',
    )
    distribution(tmp_path, "asking", requires=asked)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = versions_here("asking")
    assert found.installed
    assert found.python_asked == ">=3.11"
    assert [(p.name, p.extra, p.state) for p in found.packages] == [
        ("torch", None, "fits"),
        ("numpy", None, "too old"),
        ("no-such-thing", None, "not installed"),
        ("msgspec", "lightning", "too new"),
    ]
    without = versions_here("no-such-distribution")
    assert not without.installed
    assert "torch" in {package.name for package in without.packages}


@pytest.mark.parametrize(("asked", "state"), [("torch==1.0.0", "too new"), ("torch>=2", "fits")])
def test_a_companion_of_torch_is_held_against_it(
    asked: str, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "torchaudio", requires=("numpy", asked))
    monkeypatch.syspath_prepend(str(tmp_path))
    (companion,) = (one for one in versions_here().companions if one.name == "torchaudio")
    assert (companion.version, companion.state) == ("1.0", state)


@pytest.mark.parametrize(
    ("installed", "state"),
    [
        ("2.4", "fits"),
        ("2.13.0+cpu", "fits"),
        ("2.5.0a0+git1", "fits"),
        ("2.3.9", "too old"),
        ("3.0", "too new"),
        ("x", "unknown"),
        (None, "not installed"),
    ],
)
def test_a_version_is_held_against_bounds(installed: str | None, state: str) -> None:
    assert state_of(installed, SpecifierSet(">=2.4,<3")) == state


def test_plug_ins_load_or_say_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = "[metaweight.teachers]\ngood = parts_of_mine:good\nbad = parts_of_mine:bad\n[other]\nx = y:z\n"
    distribution(tmp_path, "my-parts", points=points)
    (tmp_path / "parts_of_mine.py").write_text("good = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = [one for one in plug_ins_here() if one.distribution == "my-parts 1.0"]
    assert [(one.group, one.name, one.error is None) for one in own] == [
        ("metaweight.teachers", "good", True),
        ("metaweight.teachers", "bad", False),
    ]
    assert main(["doctor", "--no-self-test"]) == 0
    text = capsys.readouterr().out
    assert "good (metaweight.teachers)  loads" in text
    assert "AttributeError: module 'parts_of_mine' has no attribute 'bad'" in text
    assert "repair or uninstall my-parts" in text


def test_changed_and_replaced_code_of_higher_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_released = higher_here()
    assert (as_released.changed, as_released.replaced) == ((), ())
    with monkeypatch.context() as patch:
        patch.setattr(higher.optim.DifferentiableSGD, "_update", lambda *_: None)
        patch.setattr(higher.patch, "monkeypatch", lambda *_: None)
        assert set(higher_here().replaced) == {
            "higher.optim.DifferentiableSGD._update",
            "higher.patch.monkeypatch",
        }
    empty = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0"
    distribution(tmp_path, "kept", record="".join(f"kept/{name}.py,{empty}\n" for name in ("a", "b", "c")))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.py").write_text("")
    (tmp_path / "kept" / "b.py").write_text("changed")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert changed_files("kept") == ["kept/b.py", "kept/c.py"]
    assert changed_files("no-such-distribution") == []


def test_runs_of_other_versions_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert other_forms() == ()
    for name, form in (("old", 2), ("now", 3), ("new", 99)):
        (tmp_path / "runs" / name).mkdir(parents=True)
        content = {"format": form, "shapes": {}, "state": {"a": torch.ones(3)}}
        torch.save(content, tmp_path / "runs" / name / "checkpoint.pt")
    (tmp_path / "runs" / "grid" / "cells").mkdir(parents=True)
    (tmp_path / "runs" / "damaged").mkdir()
    (tmp_path / "runs" / "damaged" / "checkpoint.pt").write_text("no checkpoint")
    (tmp_path / "runs" / "damaged" / "manifest.json").write_text("{")
    (tmp_path / "runs" / "empty").mkdir()
    (tmp_path / "runs" / "later").mkdir()
    (tmp_path / "runs" / "later" / "manifest.json").write_text('{"folder_format": 99}')
    assert {one.name: one.form for one in other_forms()} == {
        "grid": "grid without a plan",
        "later": "newer",
        "new": "newer",
        "old": "older",
    }
