"""Checkpoint folders of Hugging Face's Trainer share one file of weights by epoch, and each can go alone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hugging_face_models import arguments, gpt2, text
from torch import Tensor

import metaweight as mw
from metaweight.integrations.shared_epochs import HeldEpochs
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.epoch_file import BY_EPOCH, EpochFile

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*will be removed in v6:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning"),
]
ROWS, EPOCHS = 12, 5
EPOCH = 2 * ROWS * 4


def run(folder: Path, resume: Path | None = None, stop: int = EPOCHS, **options: Any) -> Tensor:
    """Weights and losses by epoch of a run of which each epoch has two steps and one checkpoint.

    ``stop``: after how many epochs it is killed, as if in the next one's first step.
    """
    torch.manual_seed(0)
    args = arguments(
        transformers,
        folder,
        save_strategy="epoch",
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=6,
        **options,
    )

    class Killed(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2 * stop + 1:
                raise KeyboardInterrupt

    trainer = mw.huggingface.ReweightingTrainer(
        gpt2(transformers, dropout=0.2),
        args,
        train_dataset=text(ROWS, 1),
        trusted_dataset=text(5, 2),
        trusted_batch_size=2,
        teacher="recall",
        teacher_learning_rate=0.05,
        engine="double",
        callbacks=[Killed()],
    )
    try:
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    except KeyboardInterrupt:
        assert stop < EPOCHS
    history = trainer.weighing.history
    return torch.stack([history.weights, history.loss]).clone()


def kept(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(checkpoint / "metaweight.pt", weights_only=True)["state"]["history"]
    return state


@pytest.mark.slow
def test_checkpoints_go_on_in_any_order_and_by_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    whole = run(folder)
    assert float(whole[0].std()) > 1e-4
    for epoch in range(1, EPOCHS + 1):
        state = kept(folder / f"checkpoint-{2 * epoch}")
        assert (len(state["filed"]), state["begun"].shape) == (epoch - 1, (2, ROWS))
        assert {*state} == {"filed", "begun", "file"}
    assert not (folder / "checkpoint-2" / BY_EPOCH).exists()
    files = [folder / BY_EPOCH, *(folder / f"checkpoint-{2 * epoch}" / BY_EPOCH for epoch in (2, 3, 4, 5))]
    assert len({file.stat().st_ino for file in files}) == 1
    assert files[0].stat().st_size == (EPOCHS - 1) * EPOCH

    alone = tmp_path / "alone"  # as it is sent to another machine
    shutil.copytree(folder / "checkpoint-6", alone)
    # back to an earlier one, killed in the epoch after it: the later one can still go on
    begun = run(folder, folder / "checkpoint-4", stop=2)
    assert torch.equal(begun[:, :2], whole[:, :2])
    assert torch.equal(run(folder, folder / "checkpoint-8"), whole)
    assert torch.equal(run(folder, folder / "checkpoint-4"), whole)
    shutil.rmtree(folder)
    assert torch.equal(run(tmp_path / "another", alone), whole)


def test_rotated_checkpoints_and_a_run_that_begins_anew(tmp_path: Path) -> None:
    whole = run(tmp_path, save_total_limit=1)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-10"]
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    shutil.move(tmp_path / "checkpoint-10", moved)
    run(tmp_path, stop=3, seed=7)  # epochs of its own in the file of before
    assert (moved / BY_EPOCH).stat().st_size == (tmp_path / BY_EPOCH).stat().st_size + EPOCH
    there = EpochFile(moved / BY_EPOCH, ROWS)
    there.take_up(kept(moved)["filed"])
    assert torch.equal(there.read().movedim(1, 0), whole[:, : EPOCHS - 1])


def test_epochs_that_lie_nowhere_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, stop=3)
    for file in folder.rglob(BY_EPOCH):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"has not the 2 epochs .*, nor has .*checkpoint-6.*put a copy"):
        run(folder, folder / "checkpoint-6")


def test_where_there_are_no_links_a_checkpoint_has_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refused)
    for name in ("first", "other"):
        (tmp_path / name).mkdir()
    file, held = EpochFile(tmp_path / "first" / BY_EPOCH, 3), HeldEpochs(3)
    for number in range(3):
        for one in (file, held):
            one.append(torch.full((2, 3), float(number)))
        for one in (file, held):
            one.leave(tmp_path / "other")
            there = EpochFile(tmp_path / "other" / BY_EPOCH, 3)
            there.take_up(file.digests)
            assert torch.equal(there.read(), file.read())
    file.leave(tmp_path / "first")
    assert len(file.read()) == 3
    EpochFile(tmp_path / "x" / BY_EPOCH, 3).leave(tmp_path / "other")
    assert not (tmp_path / "other" / BY_EPOCH).exists()
