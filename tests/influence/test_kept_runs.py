"""Runs in folders: what goes on in another process, bit for bit, and what is another run, in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from full_disk import full_after
from whole_runs import SAMPLES, Case, Rows, case, mlp

import metaweight as mw
from metaweight.core.atomic import WriteError
from metaweight.influence import MismatchError, record
from metaweight.influence.whole_run import WholeRun
from metaweight.training.checkpoint import CheckpointError

STEPS = 20
"""In 4 parts of 5 steps."""


class Stopped(Exception):
    """By hand."""


def stopping(at: int) -> Callable[[int, int], None]:
    """A ``tell`` that raises once ``at`` steps are done."""

    def tell(done: int, of: int) -> None:
        if done == at:
            raise Stopped

    return tell


def words(**options: Any) -> Case:
    """Dropout, Adam, 20 steps."""
    return case("words-dropout", optimizer="adam", epochs=5, **options)


def small() -> Case:
    return mlp(epochs=5)


class Counting(Rows):
    """Counts how often each step's batch is read."""

    def __init__(self, whole: mw.Batch) -> None:
        super().__init__(whole)
        self.read: list[int] = []

    def batch(self, epoch: int, position: int) -> mw.Batch:
        self.read.append(epoch * len(self) + position)
        return super().batch(epoch, position)


def test_a_run_that_is_recorded_already_puts_the_student_at_its_end(tmp_path: Path) -> None:
    built = small()
    first = built.recorded(folder=tmp_path)
    first.record()
    again = built.recorded(folder=tmp_path)
    again.record()
    expected = first.student.module.state_dict()
    assert all(torch.equal(v, expected[n]) for n, v in again.student.module.state_dict().items())
    assert again.optimizer.param_groups[0]["lr"] == first.optimizer.param_groups[0]["lr"]


def test_a_recording_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PAUSE", 0.0)
    expected = words().recorded().influence(words().meta)
    with pytest.raises(Stopped):
        words().recorded(folder=tmp_path).record(tell=stopping(10))
    source = Counting(words().source.whole)
    run = replace(words(), source=source).recorded(folder=tmp_path)
    assert run.recording.taken == 10
    source.read.clear()
    run.record()
    assert set(source.read) == set(range(10, STEPS))
    there = words().written_out(torch.ones(SAMPLES, dtype=torch.float64)).state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
    found = run.influence(words().meta)
    assert torch.equal(found.values, expected.values)
    assert torch.equal(found.losses, expected.losses)


def test_one_that_was_stopped_before_anything_was_noted_starts_over(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        words().recorded(folder=tmp_path).record(tell=stopping(10))
    run = words().recorded(folder=tmp_path)
    assert run.recording.taken == 0
    assert torch.equal(run.influence(words().meta).values, words().recorded().influence(words().meta).values)


def test_a_way_back_that_was_stopped_goes_on(tmp_path: Path) -> None:
    expected = words().recorded().influence(words().meta, by_epoch=True)
    for at in (5, 15):
        with pytest.raises(Stopped):
            words().recorded(folder=tmp_path).influence(words().meta, by_epoch=True, tell=stopping(at))
    source = Counting(words().source.whole)
    run = replace(words(), source=source).recorded(folder=tmp_path)
    source.read.clear()
    found = run.influence(words().meta, by_epoch=True)
    assert set(source.read) == set(range(5))
    assert torch.equal(found.values, expected.values)
    assert found.by_epoch is not None
    assert expected.by_epoch is not None
    assert torch.equal(found.by_epoch, expected.by_epoch)
    source.read.clear()
    assert torch.equal(run.influence(words().meta, by_epoch=True).values, expected.values)
    assert source.read == []  # one that has ended is read
    other = run.influence(words().meta.rows(torch.arange(2)))
    assert set(source.read) == set(range(STEPS))
    assert not torch.equal(other.values, expected.values)


def test_the_way_back_of_another_run_does_not_count(tmp_path: Path) -> None:
    small().recorded(folder=tmp_path).influence(small().meta)
    (tmp_path / record.FILE).unlink()
    weights = torch.full((SAMPLES,), 0.5, dtype=torch.float64)
    with pytest.raises(CheckpointError, match=r"back-.* is the checkpoint of another run"):
        small().recorded(weights, folder=tmp_path).influence(small().meta)


def test_a_student_at_the_end_of_the_run_or_elsewhere_in_its_draws_is_welcome(tmp_path: Path) -> None:
    built = mlp(epochs=5, course="constant")
    built.recorded(folder=tmp_path).influence(built.meta)
    run = built.recorded(folder=tmp_path)
    run.record()
    torch.manual_seed(99)
    again = WholeRun(
        run.student,
        built.source,
        run.optimizer,
        epochs=5,
        learning_rate=run.steps.rates.course,
        max_norm=0.5,
        folder=tmp_path,
    )
    assert again.recording.whole


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "epochs": ({"epochs": 4}, "another number of steps .* and other learning rates"),
    "samples": ({"source": Rows(small().source.whole.rows(torch.arange(18)))}, "another number of samples"),
    "course": ({"course": "inverse-sqrt"}, "with other learning rates; name another folder"),
    "clipping": ({"max_norm": None}, "with another max_norm;"),
    "optimizer": ({"optimizer": "adam"}, "another optimizer, or other options of it"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_run_is_refused(what: str, tmp_path: Path) -> None:
    small().recorded(folder=tmp_path).record()
    change, said = OTHERS[what]
    with pytest.raises(ValueError, match=said):
        replace(small(), **change).recorded(folder=tmp_path)


def test_other_weights_options_and_seeds_are_refused(tmp_path: Path) -> None:
    small().recorded(folder=tmp_path).record()
    with pytest.raises(ValueError, match="other weights of the samples; name another folder"):
        small().recorded(torch.full((SAMPLES,), 2.0, dtype=torch.float64), folder=tmp_path)
    module, _ = small().start()
    decay = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    course = small().recorded().steps.rates.course
    with pytest.raises(ValueError, match="with another optimizer, or other options of it"):
        WholeRun(
            mw.Student(module),
            small().source,
            decay,
            epochs=5,
            learning_rate=course,
            max_norm=0.5,
            folder=tmp_path,
        )
    seeded = small()
    start = seeded.start

    def elsewhere() -> Any:
        module, optimizer = start()
        torch.nn.init.normal_(module[1].weight)  # type: ignore[index, arg-type]
        return module, optimizer

    seeded.start = elsewhere  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"the parameter '1.weight' differs\): seed before you build it"):
        seeded.recorded(folder=tmp_path)


def changed(sample: int, what: str) -> Rows:
    """The rows with another label, or other inputs, of one sample."""
    whole = small().source.whole
    x, labels = whole.args[0].clone(), whole.targets.clone()
    if what == "the inputs":
        x[sample] += 1
    else:
        labels[sample] = (labels[sample] + 1) % 3
    return Rows(mw.Batch((x,), labels, whole.index))


def of_step(step: int) -> set[int]:
    return set(small().source.batch(*divmod(step, 4)).index.tolist())


@pytest.mark.parametrize("what", ["the targets", "the inputs"])
def test_other_data_are_named(what: str, tmp_path: Path) -> None:
    small().recorded(folder=tmp_path).record()
    sample = min(of_step(0))
    with pytest.raises(ValueError, match=f"on other data: of the batch of step 1 {what} changed. Give the"):
        replace(small(), source=changed(sample, what)).recorded(folder=tmp_path)
    # what the first batch does not have is found on the way back: at the beginning of a part, and within
    sample = min(of_step(15) - of_step(0))
    with pytest.raises(MismatchError, match=f"The batch of step 16 is not the one of then: {what} changed"):
        replace(small(), source=changed(sample, what)).recorded(folder=tmp_path).influence(small().meta)
    sample = min(set(range(SAMPLES)) - of_step(15) - of_step(0) - of_step(16))
    (step,) = (step for step in range(16, 20) if sample in of_step(step))
    said = f"from step {step + 1} of 20 .*batch of step {step + 1} is not the one of then"
    with pytest.raises(MismatchError, match=said):
        replace(small(), source=changed(sample, what)).recorded(folder=tmp_path).influence(small().meta)


def test_another_order_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "PAUSE", 0.0)
    with pytest.raises(Stopped):
        small().recorded(folder=tmp_path).record(tell=stopping(10))

    class Turned(Rows):
        """The other way round from the third epoch on."""

        def batch(self, epoch: int, position: int) -> mw.Batch:
            return super().batch(epoch, position if epoch < 2 else len(self) - 1 - position)

    other = replace(small(), source=Turned(small().source.whole))
    with pytest.raises(ValueError, match="of the batch of step 11 the samples and their order and the tar"):
        other.recorded(folder=tmp_path)


def test_a_newer_or_damaged_record_is_named(tmp_path: Path) -> None:
    small().recorded(folder=tmp_path).record()
    path = tmp_path / record.FILE
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "format": record.FORMAT + 1}))
    with pytest.raises(ValueError, match=r"run.json has format 2, this version reads up to 1: upgrade"):
        small().recorded(folder=tmp_path)
    path.write_text(json.dumps(content)[:-40])
    with pytest.raises(ValueError, match=r"run.json.* is damaged"):
        small().recorded(folder=tmp_path)


@pytest.mark.parametrize("step", [0, 10, 20])
@pytest.mark.parametrize("gone", [False, True])
def test_a_damaged_state_is_named(step: int, gone: bool, tmp_path: Path) -> None:
    small().recorded(folder=tmp_path).record()
    path = tmp_path / "states" / f"{step:08d}.pt"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink() if gone else path.write_bytes(content)
    said = f"{path.name}.*before step {step + 1} .*delete {tmp_path}, and it is recorded anew"
    with pytest.raises(CheckpointError, match=said):
        small().recorded(folder=tmp_path).influence(small().meta)


def written(run: WholeRun) -> None:
    writer = run.recording._writer
    assert writer is not None
    writer.write(run.recording._record(), at_once=True)


FILES: dict[str, Callable[[WholeRun], Any]] = {
    "run.json": written,
    "back-.*.pt": lambda run: run.influence(small().meta),
    "learn-.*/learning.pt": lambda run: run.learn(small().meta, rounds=1),
    "states/00000000.pt": lambda _: small().recorded(folder=run_folder(_) / "new").record(),
}


def run_folder(run: WholeRun) -> Path:
    assert run.folder is not None
    return run.folder


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_named(name: str, tmp_path: Path) -> None:
    run = small().recorded(folder=tmp_path)
    run.record()
    with full_after(200), pytest.raises(WriteError, match=f"{name} cannot be written: .*free space there"):
        FILES[name](run)
    assert not list(tmp_path.rglob("*.part"))
    FILES[name](run)  # and goes on once there is space
