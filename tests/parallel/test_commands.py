"""``metaweight train`` in several processes: one run, kept once, that survives a process."""

from __future__ import annotations

import contextlib
import io
import json
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
from slowly import slowly

from metaweight.cli.main import main
from metaweight.core.records import read_record
from metaweight.tasks.outcome import RESULT, RunResult
from metaweight.training.trainer import Trainer

EPOCHS = 4
MEMORY = ("--teacher", "memory")


def arguments(folder: Path, out: str, dropout: float = 0.0, arm: tuple[str, ...] = MEMORY) -> list[str]:
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
    task = ["--task", "tabular", "--label", "kind"]
    return ["train", *files, *quick, f"dropout={dropout:g}", *task, *arm, "--out", str(folder / out)]


def command(
    rank: int, size: int, words: list[str], killed: tuple[int, float] | tuple[int, float, int] | None
) -> tuple[int, str, str]:
    """Exit code, standard output and error; ``killed``: a rank, and the step or second at which it dies, and
    of several trainings in which."""
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(size))
    real = Trainer._step
    begun: list[Trainer] = []
    if killed is not None and killed[0] == rank and isinstance(killed[1], int):

        def dying(trainer: Trainer, window: object) -> object:
            if trainer not in begun:
                begun.append(trainer)
            if trainer.reweighter.steps == killed[1] and len(begun) == [*killed, 1][2]:
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
    joined = (*MEMORY, "--train-on-meta", "True")
    assert main(arguments(tmp_path, "one", arm=joined)) == 0
    (code, said, errors), *others = ranks.run(3, command, arguments(tmp_path, "three", arm=joined), None)
    assert (code, errors) == (0, "")
    assert "test accuracy" in said
    assert "dropout" not in said
    assert others == [(0, "", "")] * 2
    require_same(tmp_path / "three", tmp_path / "one", 1e-4)  # in float32
    manifests = [json.loads((tmp_path / run / "manifest.json").read_text()) for run in ("three", "one")]
    assert [one["processes"] for one in manifests] == [3, 1]
    names = [{path.name for path in (tmp_path / run).iterdir()} for run in ("three", "one")]
    assert names[0] == names[1]


def test_a_mistake_is_said_once(ranks: Ranks, tmp_path: Path) -> None:
    arm = ("--teacher", "uniform", "--remedy", "co-teaching", "--remedy-options", "forget_rate=0.2")
    first, second = ranks.run(2, command, arguments(tmp_path, "run", arm=arm), None)
    assert (first[0], second) == (2, (2, "", ""))
    said = " ".join(first[2].split())
    assert "remedy 'co-teaching' looks at the samples of a batch side by side, and 2 processes" in said
    assert "train it in one, without torchrun" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("rank", [1, *slowly(0)])
def test_a_process_that_dies_ends_the_run_which_goes_on_later(
    ranks: Ranks, tmp_path: Path, rank: int
) -> None:
    dropout = 0.3 * rank
    (_, said, _), _ = ranks.run(2, command, arguments(tmp_path, "whole", dropout), None)
    warned = "each of the 2 processes draws dropout masks of its own" in " ".join(said.split())
    assert warned == (dropout > 0)
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


def remedy(name: str, *options: str) -> tuple[str, ...]:
    given = ("--remedy-options", *options) if options else ()
    return "--teacher", "uniform", "--remedy", name, *given


@pytest.mark.parametrize(
    "arm",
    [
        remedy("loss-filter", "share=0.2"),
        *slowly((remedy("early-stopping"),), (remedy("fine-tune", "epochs=2"),), (remedy("meta-only"),)),
    ],
    ids=lambda arm: arm[3],
)
def test_a_remedy_of_several_is_that_of_one(ranks: Ranks, tmp_path: Path, arm: tuple[str, ...]) -> None:
    """Its stages, its filter and the student that it hands out."""
    assert main(arguments(tmp_path, "one", arm=arm)) == 0
    (code, _, errors), other = ranks.run(2, command, arguments(tmp_path, "two", arm=arm), None)
    assert (code, errors, other) == (0, "", (0, "", ""))
    require_same(tmp_path / "two", tmp_path / "one", 1e-4)
    ours, theirs = (read_record(RunResult, tmp_path / run / RESULT) for run in ("two", "one"))
    assert ours.epoch == theirs.epoch
    figures = [{**found.figures, "seconds": 0} for found in (ours, theirs)]
    known = [{name: value for name, value in one.items() if value is not None} for one in figures]
    assert known[0] == pytest.approx(known[1], rel=1e-4)
    assert sorted(os.listdir(tmp_path / "two")) == sorted(os.listdir(tmp_path / "one"))


@pytest.mark.slow
def test_a_loss_correction_of_several_is_that_of_one(ranks: Ranks, tmp_path: Path) -> None:
    """A loss of its own, of targets with marks, on pictures."""
    sizes = ("train", 60), ("meta", 20), ("valid", 20), ("batch", 20), ("meta-batch", 10)
    words = ["train", *(word for name, size in sizes for word in (f"--{name}-size", str(size)))]
    words += ["--epochs", "2", "--warmup-epochs", "0", "--model-options", "width=4", "norm=group"]
    words += [*remedy("glc"), "--noise", "uniform", "--threads", "1", "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    (code, _, errors), other = ranks.run(2, command, [*words, str(tmp_path / "two")], None)
    assert (code, errors, other) == (0, "", (0, "", ""))
    require_same(tmp_path / "two", tmp_path / "one", 1e-4)


@pytest.mark.slow  # a run that is no remedy's loses a process above
@pytest.mark.parametrize("step", [12, 5])
def test_a_remedy_that_loses_a_process_goes_on_in_its_stage(ranks: Ranks, tmp_path: Path, step: int) -> None:
    """In each of its two stages, in the first epoch and in a later one."""
    arm = remedy("loss-filter", "share=0.2")
    ranks.run(2, command, arguments(tmp_path, "whole", arm=arm), None)
    killed, stage = (1, step), 1 if step == 5 else 2
    found = ranks.run(2, command, arguments(tmp_path, "run", arm=arm), (*killed, stage))
    assert found[1] is None
    assert "has lost another one" in found[0][2]
    assert (tmp_path / "run" / "stages" / "plain" / "checkpoint.pt").is_file() == (stage == 2)
    again = ["train", "--resume", str(tmp_path / "run")]
    assert [answer[::2] for answer in ranks.run(2, command, again, None)] == [(0, "")] * 2
    require_same(tmp_path / "run", tmp_path / "whole", 0)


@pytest.mark.slow
def test_a_plain_run_beside_a_run_of_several(ranks: Ranks, tmp_path: Path) -> None:
    """It is kept once, that of one process, goes on where it died, and is read where it has ended."""
    probed = ("--teacher", "mw-net", "--probes", "0.5", "--plain-run")
    assert main(arguments(tmp_path, "one", arm=probed)) == 0
    words, again = arguments(tmp_path, "two", arm=probed), ["train", "--resume", str(tmp_path / "two")]
    assert ranks.run(2, command, words, (1, 20, 2))[1] is None  # in the second of two trainings
    assert (tmp_path / "two" / "plain" / "checkpoint.pt").is_file()
    assert not (tmp_path / "two" / "plain" / RESULT).exists()
    for _ in range(2):
        (code, said, errors), other = ranks.run(2, command, again, None)
        assert (code, errors, other) == (0, "", (0, "", ""))
        assert "plain training on the same rows" in said
    for run in ("", "plain"):
        require_same(tmp_path / "two" / run, tmp_path / "one" / run, 1e-4)


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
