"""Weights by epoch lie in one file that grows, not in memory and not in checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from live_tensors import LiveBytes
from run_parts import Batches, StopAt
from slowly import covering
from students import SHAPE, Dropped, batch

import metaweight as mw
from metaweight.core.atomic import WriteError
from metaweight.training.callbacks import BY_EPOCH, Callback, WeightHistory
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.epoch_file import EpochFile
from metaweight.training.history import Interrupted
from metaweight.training.run_folder import RunFolder
from metaweight.training.trainer import Trainer

SAMPLES = 18


def trainer(folder: RunFolder | None, *callbacks: Callback, epochs: int = 4) -> Trainer:
    torch.manual_seed(0)
    module = Dropped().double()
    student = mw.Student(module, taps=("body.bn2",))
    teacher = mw.build_teacher("mlp", student.spec(batch(SHAPE, 4, 0)))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizer, schedule="online")
    train, meta = Batches(3, 1), Batches(2, 2)
    return Trainer(reweighter, train, meta, epochs=epochs, folder=folder, callbacks=callbacks)


@pytest.mark.slow
def test_memory_and_checkpoints_do_not_grow_with_the_epochs(tmp_path: Path) -> None:
    samples, peaks, sizes = 200_000, [], []
    for epochs in (2, 12):
        folder = RunFolder.create(tmp_path / f"run-{epochs}", {})
        with LiveBytes(held=[], apart=[], least=samples) as live:
            history = WeightHistory(samples, epochs, folder=folder)
            trainer(folder, history, epochs=epochs).fit()
        peaks.append(live.peak)
        sizes.append((folder.path / "checkpoint.pt").stat().st_size)
        assert (folder.path / BY_EPOCH).stat().st_size == epochs * 2 * samples * 4
        assert history.weights.shape == (epochs, samples)
        assert bool(history.weights[:, :SAMPLES].isfinite().all())
    # weights, losses, what asks whether there are any; and the last epoch, mapped, when the next is written
    assert peaks[0] == peaks[1] < 5 * samples * 4
    assert sizes[1] - sizes[0] < 10_000


@pytest.mark.parametrize(("step", "rest"), covering([3, 5, 9], ["", "torn", "an epoch more"]))
def test_a_run_goes_on_by_the_offset_that_its_checkpoint_names(tmp_path: Path, step: int, rest: str) -> None:
    whole = WeightHistory(SAMPLES, 4, warmup=1)
    trainer(None, whole, StopAt(-1)).fit()
    folder = RunFolder.create(tmp_path / "run", {})
    cut = trainer(folder, WeightHistory(SAMPLES, 4, 1, folder=folder), StopAt(step))
    with pytest.raises(Interrupted):
        cut.fit()
    file = folder.path / BY_EPOCH
    before = file.read_bytes()
    assert len(before) == step // 3 * 2 * SAMPLES * 4
    with file.open("ab") as stream:  # a kill in the next write, or between it and its checkpoint
        stream.write(b"x" * {"": 0, "torn": 5, "an epoch more": 2 * SAMPLES * 4}[rest])
    history = WeightHistory(SAMPLES, 4, 1, folder=RunFolder.open(folder.path))
    resumed = trainer(RunFolder.open(folder.path), history, StopAt(-1))
    resumed.resume()
    part = history.weights
    assert torch.equal(part.isfinite().any(dim=1), torch.arange(4) < (step + 2) // 3)
    resumed.fit()
    for ours, theirs in (
        (history.weights, whole.weights),
        (history.loss, whole.loss),
        (history.mean_weight(), whole.mean_weight()),
        (history.mean_loss(), whole.mean_loss()),
    ):
        assert torch.equal(ours, theirs)
    assert file.read_bytes()[: len(before)] == before
    assert file.stat().st_size == 4 * 2 * SAMPLES * 4
    history.leave_out(torch.tensor([3]))
    assert bool((history.weights[:, 3] == 0).all())
    assert file.read_bytes()[: len(before)] == before


def test_a_checkpoint_of_before_is_taken_up(tmp_path: Path) -> None:
    whole, older = (WeightHistory(SAMPLES, 4) for _ in range(2))
    trainer(None, whole, StopAt(-1)).fit()
    for step in (3, 5):
        folder = RunFolder.create(tmp_path / f"run-{step}", {})
        with pytest.raises(Interrupted):
            trainer(folder, older, StopAt(step)).fit()
        history = WeightHistory(SAMPLES, 4, folder=folder)
        resumed = trainer(folder, history, StopAt(-1))
        resumed.resume()
        assert torch.equal(history.weights.isfinite().any(dim=1), torch.arange(4) < (step + 2) // 3)
        resumed.fit()
        assert torch.equal(history.weights, whole.weights)
        assert (folder.path / BY_EPOCH).stat().st_size == 4 * 2 * SAMPLES * 4
        older = WeightHistory(SAMPLES, 4)


def test_a_file_that_the_checkpoint_does_not_know_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    trainer(folder, WeightHistory(SAMPLES, 2, folder=folder), epochs=2).fit()
    file = folder.path / BY_EPOCH
    whole = file.read_bytes()
    for content in (whole[:-1], whole[:40] + b"x" + whole[41:], b"", None):
        file.unlink()
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"{BY_EPOCH} has not the 2 epochs that the checkpoint"):
            trainer(folder, WeightHistory(SAMPLES, 2, folder=folder), epochs=2).resume()
    with pytest.raises(CheckpointError, match=r"WeightHistory\(\.\.\., folder=folder\)"):
        trainer(folder, WeightHistory(SAMPLES, 2), epochs=2).resume()


def test_a_state_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    history, states = WeightHistory(SAMPLES, 4, folder=folder), []
    for step in (3, 8):
        run = trainer(folder, history, StopAt(step))
        if run.has_checkpoint:
            run.resume()
        with pytest.raises(Interrupted):
            run.fit()
        states.append(history.state_dict())
    assert [len(state["filed"]) for state in states] == [1, 2]
    history.load_state_dict(states[0])
    assert history.weights.isfinite().any(dim=1).tolist() == [True, False, False, False]


def test_epochs_that_have_gone_are_noticed_when_the_next_is_written(tmp_path: Path) -> None:
    file = EpochFile(tmp_path / "file", 3)
    file.append(torch.ones(2, 3))
    file.path.write_bytes(b"")
    with pytest.raises(WriteError, match="file cannot be written: epochs before this one have gone from it"):
        file.append(torch.ones(2, 3))


def test_other_processes_than_the_first_leave_the_file_alone(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    (folder.path / BY_EPOCH).write_bytes(b"of the first")
    other = WeightHistory(SAMPLES, 4, processes=SimpleNamespace(size=2, rank=1), folder=folder)
    assert other.kept_once
    other.on_epoch(SimpleNamespace(epoch=2), {})
    assert other.weights.shape == (4, SAMPLES)
    assert (folder.path / BY_EPOCH).read_bytes() == b"of the first"


def test_what_was_read_stays_when_another_run_begins_the_file(tmp_path: Path) -> None:
    first = EpochFile(tmp_path / BY_EPOCH, 5)
    for number in range(3):
        first.append(torch.full((2, 5), float(number)))
    held = first.read()
    EpochFile(tmp_path / BY_EPOCH, 5).append(torch.full((2, 5), 9.0))
    assert held[:, 0, 0].tolist() == [0, 1, 2]


def test_epochs_that_are_refused_change_nothing(tmp_path: Path) -> None:
    file = EpochFile(tmp_path / BY_EPOCH, 5)
    with pytest.raises(CheckpointError, match="has not the 2 epochs"):
        file.take_up(["a", "b"])
    file.append(torch.zeros(2, 5))
    assert file.read().shape == (1, 2, 5)


def test_an_epoch_without_a_sample_is_no_end(tmp_path: Path) -> None:
    table = torch.full((4, SAMPLES), float("nan"))
    table[[0, 2]] = torch.arange(SAMPLES).float()
    history = WeightHistory(SAMPLES, 4, folder=RunFolder.create(tmp_path / "run", {}))
    history.load_state_dict({"weights": table, "loss": 2 * table})
    torch.testing.assert_close(history.weights, table, equal_nan=True)
    torch.testing.assert_close(history.loss, 2 * table, equal_nan=True)


def test_a_name_that_was_left_keeps_the_epochs_that_another_way_drops(tmp_path: Path) -> None:
    file, place = EpochFile(tmp_path / BY_EPOCH, 5), tmp_path / "kept"
    place.mkdir()
    for number in range(3):
        file.append(torch.full((2, 5), float(number)))
    file.leave(place)
    before = list(file.digests)
    assert (place / BY_EPOCH).samefile(file.path)
    held = file.read()
    file.take_up(before[:1])
    file.append(torch.full((2, 5), 9.0))
    assert file.read()[:, 0, 0].tolist() == [0, 9]
    assert held[:, 0, 0].tolist() == [0, 1, 2]
    other = EpochFile(tmp_path / "other" / BY_EPOCH, 5)
    other.take_up(before, place / BY_EPOCH)
    assert other.read()[:, 0, 0].tolist() == [0, 1, 2]
    other.take_up(before[:2], place / BY_EPOCH)
    other.append(torch.full((2, 5), 7.0))
    assert other.read()[:, 0, 0].tolist() == [0, 1, 7]
    assert EpochFile(place / BY_EPOCH, 5).path.stat().st_size == 3 * 2 * 5 * 4


def test_what_a_stop_left_behind_the_epochs_is_cut_without_a_copy(tmp_path: Path) -> None:
    file = EpochFile(tmp_path / BY_EPOCH, 5)
    file.append(torch.zeros(2, 5))
    number = file.path.stat().st_ino
    with file.path.open("ab") as stream:
        stream.write(b"torn")
    file.append(torch.ones(2, 5))
    assert file.path.stat().st_ino == number
    assert file.read()[:, 1, 4].tolist() == [0, 1]


def test_a_folder_under_another_name_keeps_the_file(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "run")
    file = EpochFile(tmp_path / "run" / BY_EPOCH, 3)
    file.append(torch.ones(2, 3))
    file.leave(tmp_path / "link")
    assert torch.equal(file.read(), torch.ones(1, 2, 3))
