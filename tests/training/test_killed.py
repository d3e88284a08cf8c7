"""Runs that are killed, starved of disk or started twice end as if nothing had happened, or say why not."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from killed_runs import commands, contents, resumed
from slowly import slowly

PROGRAM = Path(__file__).parent.parent / "killed_runs.py"
SEED = 18


@pytest.mark.parametrize(
    ("what", "trials"),
    [
        ("killed,starved", 1),
        *slowly(("killed", 200), ("starved", 50), ("twice", 20)),
    ],
)
def test_a_disturbed_run_ends_like_an_undisturbed_one(what: str, trials: int, tmp_path: Path) -> None:
    """Four kinds of runs and a comparison in turn, at instants or writes that the seed decides."""
    arguments = [sys.executable, str(PROGRAM), what, str(SEED), str(trials), str(tmp_path)]
    campaign = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr


@pytest.mark.slow
def test_commands_killed_from_outside_and_two_runs_side_by_side(tmp_path: Path) -> None:
    """The command itself, imports included, 20 times; a comparison has its runs in processes of their own."""
    chance = random.Random(SEED)
    metaweight = [sys.executable, "-m", "metaweight.cli"]
    every = commands(tmp_path)
    every["comparison"] = [*every["comparison"][:-1], "2"]
    for kind in ("image", "comparison"):
        whole, out = tmp_path / f"whole-{kind}", tmp_path / kind
        started = time.monotonic()
        subprocess.run([*metaweight, *every[kind], "--out", str(whole)], capture_output=True, check=True)
        seconds = time.monotonic() - started
        for _ in range(10):
            with (tmp_path / "said.txt").open("w") as said:
                process = subprocess.Popen(
                    [*metaweight, *resumed(every[kind], out)], stdout=said, stderr=subprocess.STDOUT
                )
                time.sleep(chance.uniform(0.2, 1) * seconds)
                os.kill(process.pid, signal.SIGKILL)
                code = process.wait()
            assert code in (0, -signal.SIGKILL), (tmp_path / "said.txt").read_text()
        again = [*metaweight, *resumed(every[kind], out)]
        subprocess.run(again, capture_output=True, check=True)
        assert contents(out) == contents(whole)
