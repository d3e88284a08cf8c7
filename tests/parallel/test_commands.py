"""``metaweight train`` in several processes: one run, kept once, that survives a process."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny_rows
from several_processes import Ranks

from metaweight.cli.main import main
from metaweight.training.trainer import Trainer

EPOCHS = 4


def arguments(folder: Path, out: str, dropout: float = 0.0) -> list[str]:
    """A run on a table whose training rows are no multiple of the batch, nor batches of the processes.

    ``dropout`` draws other masks in each process.
    """
    places = {"train": tiny_rows.rows(111, 1, range(0, 111, 4)), "meta": tiny_rows.rows(22, 2)}
    places |= {"valid": tiny_rows.rows(30, 3), "test": tiny_rows.rows(40, 4)}
    files = [
        word
        for part, table in places.items()
        for word in (f"--{part}", str(tiny_rows.write(folder / f"{part}.csv", table)))
    ]
    quick = [str(EPOCHS) if word == "3" else word for word in tiny_rows.QUICK]
    teacher = ["--teacher", "memory", "--task", "tabular", "--label", "kind"]
    return ["train", *files, *quick, f"dropout={dropout:g}", *teacher, "--out", str(folder / out)]


def command(rank: int, size: int, words: list[str], killed: tuple[int, float] | None) -> tuple[int, str, str]:
    """Exit code, standard output and error; ``killed``: a rank, and the step or second at which it dies."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    real = Trainer._step
    if killed is not None and killed[0] == rank and isinstance(killed[1], int):

        def dying(trainer: Trainer, window: object) -> object:
            if trainer.reweighter.steps == killed[1]:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(trainer, window)  # type: ignore[arg-type]

        Trainer._step = dying  # type: ignore[assignment,method-assign]
    elif killed is not None and killed[0] == rank:
        threading.Timer(killed[1], lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    finally:
        Trainer._step = real  # type: ignore[method-assign]
        os.environ.pop("RANK")
        os.environ.pop("WORLD_SIZE")
    return code, out.getvalue(), err.getvalue()


def require_same(here: Path, there: Path, within: float) -> None:
    """Weights and losses of every row in every epoch."""
    ours, theirs = (np.load(folder / "weights.npz") for folder in (here, there))
    for name in ("weights", "loss"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=within, atol=within)
    assert np.array_equal(ours["index"], theirs["index"])


def test_a_run_of_several_is_the_run_of_one_and_kept_once(ranks: Ranks, tmp_path: Path) -> None:
    assert main(arguments(tmp_path, "one")) == 0
    (code, said, errors), *others = ranks.run(3, command, arguments(tmp_path, "three"), None)
    assert (code, errors) == (0, "")
    assert "test accuracy" in said
    assert others == [(0, "", "")] * 2
    require_same(tmp_path / "three", tmp_path / "one", 1e-4)  # in float32
    names = [{path.name for path in (tmp_path / run).iterdir()} for run in ("three", "one")]
    assert names[0] == names[1]


def test_a_mistake_is_said_once(ranks: Ranks, tmp_path: Path) -> None:
    words = [*arguments(tmp_path, "run"), "--remedy", "glc"]
    first, second = ranks.run(2, command, words, None)
    assert (first[0], second) == (2, (2, "", ""))
    assert "remedy 'glc' takes one process, and 2 were started" in first[2]
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_run_which_goes_on_later(
    ranks: Ranks, tmp_path: Path, rank: int
) -> None:
    dropout = 0.3 * rank
    ranks.run(2, command, arguments(tmp_path, "whole", dropout), None)
    found = ranks.run(2, command, arguments(tmp_path, "run", dropout), (rank, 20))
    assert found[rank] is None
    code, _, errors = found[1 - rank]
    assert code == 2
    assert f"process {1 - rank} of 2 has lost another one" in errors
    if rank == 1:
        assert "--resume" in errors
        assert "the last checkpoint, of epoch 3, is whole" in errors
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    again = ["train", "--resume", str(tmp_path / "run")]
    assert [answer[::2] for answer in ranks.run(2, command, again, None)] == [(0, "")] * 2
    require_same(tmp_path / "run", tmp_path / "whole", 0)
    if not dropout:
        assert main(["train", "--resume", str(tmp_path / "other")]) == 0
        require_same(tmp_path / "other", tmp_path / "whole", 1e-4)


@pytest.mark.slow
def test_processes_killed_at_any_instant(ranks: Ranks, tmp_path: Path) -> None:
    """Twenty times in a row, one run: each goes on where the last one died."""
    chance = random.Random(20)
    ranks.run(2, command, arguments(tmp_path, "whole"), None)
    words, again = arguments(tmp_path, "run"), ["train", "--resume", str(tmp_path / "run")]
    for _ in range(20):
        started = (tmp_path / "run").exists()
        killed = chance.randrange(2), chance.uniform(0.05, 1.5)
        ranks.run(2, command, again if started else words, killed)
    ranks.run(2, command, again, None)
    require_same(tmp_path / "run", tmp_path / "whole", 0)


@pytest.mark.slow
def test_torchrun(tmp_path: Path) -> None:
    """As a user types it."""
    program = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "metaweight"]
    assert main(arguments(tmp_path, "one")) == 0
    subprocess.run([*program, *arguments(tmp_path, "two")], check=True, capture_output=True, timeout=120)
    require_same(tmp_path / "two", tmp_path / "one", 1e-4)
