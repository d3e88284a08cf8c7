"""Trainers of others, Hugging Face's and Lightning's, in several processes of the pool."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import accelerate_state
import pytest
import torch
from hugging_face_models import CASES, arguments, gpt2, text
from parted_integrations import Distributed, Found, Own, Started, pairs, seen, told
from parted_runs import module
from torch.utils.data import Sampler

import metaweight as mw


@contextmanager
def started(rank: int, size: int) -> Iterator[None]:
    """As a launcher starts one of several processes, whose group is up; of one: nothing."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
    names |= {"MASTER_PORT": 1}  # nobody asks, for the group is up
    own = {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
    if size > 1:
        os.environ.update(own)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the trainers say of small runs
            yield
    finally:
        for name in own if size > 1 else ():
            os.environ.pop(name, None)  # Lightning takes some away itself


class Again(Sampler[int]):
    """All rows, and the first ``more`` again."""

    def __init__(self, rows: int, more: int) -> None:
        self.rows, self.more = rows, more

    def __len__(self) -> int:
        return self.rows + self.more

    def __iter__(self) -> Iterator[int]:
        return iter([row % self.rows for row in range(len(self))])


@dataclass(frozen=True)
class Tuned:
    """A run of a Hugging Face Trainer."""

    case: str
    rows: int
    options: Mapping[str, Any] = field(default_factory=dict)
    in_order: bool = True
    """Whether rows come as they lie."""
    again: int = 0
    """Rows that Accelerate repeats, the first ones, where processes are to have as many."""


BATCH = 8
"""Rows of all processes together."""


def tuned(rank: int, size: int, plan: Tuned, folder: Path) -> tuple[Found, list[Any], list[float]]:
    """What a run in the pool has learnt, what is said of the rows, and its logged losses."""
    with started(rank, size), accelerated():
        trainer = tune(rank, size, plan, folder)
        assert trainer.report(folder / "page.html") == folder / "page.html"
        logged = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        return seen(trainer.weighing, trainer.model), told(trainer), logged


def tune(rank: int, size: int, plan: Tuned, folder: Path) -> Any:
    """A Hugging Face Trainer that has trained."""
    transformers = pytest.importorskip("transformers")
    case, again = CASES[plan.case], plan.again if size == 1 else 0

    class Dealt(mw.huggingface.ReweightingTrainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if plan.in_order:
                return Again(len(train_dataset), again)
            return super()._get_train_sampler(train_dataset)

    args = arguments(
        transformers,
        folder,
        per_device_train_batch_size=BATCH // size,
        optim="sgd",  # Adam divides small gradients by their size, and rounding with them
        learning_rate=0.5,
        **plan.options,
    )
    trainer = Dealt(
        case.model(transformers, seed=rank),
        args,
        train_dataset=text(plan.rows, 1, case.label),
        trusted_dataset=text(7, 2, case.label),
        trusted_batch_size=3,
        teacher=Started,
        teacher_learning_rate=0.01,
    )
    trainer.train()
    return trainer


@contextmanager
def accelerated() -> Iterator[None]:
    """Around a run of a Hugging Face Trainer."""
    logging.getLogger("transformers").setLevel(logging.ERROR)
    with accelerate_state.fresh():
        yield


def tuned_on(rank: int, size: int, folder: Path) -> tuple[Found, Found]:
    """A run with dropout, shuffled rows and accumulation; the rest of it from its checkpoint."""
    transformers = pytest.importorskip("transformers")

    def run(place: Path, resume: Path | None = None) -> Found:
        torch.manual_seed(0)
        args = arguments(
            transformers,
            place,
            per_device_train_batch_size=3,
            gradient_accumulation_steps=2,
            save_strategy="steps",
            save_steps=3,
        )
        trainer = mw.huggingface.ReweightingTrainer(
            gpt2(transformers, dropout=0.2),
            args,
            train_dataset=text(24, 1),
            trusted_dataset=text(5, 2),
            teacher="recall",
            teacher_learning_rate=0.05,
        )
        trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
        return seen(trainer.weighing, trainer.model)

    with started(rank, size), accelerated():
        whole = run(folder / "whole")
        return run(folder / "again", folder / "whole" / "checkpoint-3"), whole


def trainer_refusal(rank: int, size: int, folder: Path) -> str:
    """What is said to a mean of each process's own tokens."""
    transformers = pytest.importorskip("transformers")
    with started(rank, size), accelerated():
        args = arguments(transformers, folder, average_tokens_across_devices=False)
        with pytest.raises(ValueError, match="average_tokens_across_devices") as caught:
            mw.huggingface.ReweightingTrainer(gpt2(transformers), args, train_dataset=text(4, 1))
        return str(caught.value)


def lightened(
    rank: int, size: int, folder: Path, parts: int, resume: Path | None = None
) -> tuple[Found, list[Any]]:
    """What a run in the pool has learnt, and what is said of the rows."""
    with started(rank, size):
        model = lighten(rank, size, folder, parts, resume)
        if rank == 0:  # the others do not wait for it
            model.report(folder / "page.html")
        return seen(model.weighing, model.module), told(model)


def lighten(rank: int, size: int, folder: Path, parts: int = 1, resume: Path | None = None) -> Any:
    """A LightningModule that has been trained with momentum and a rate that falls."""
    lightning = pytest.importorskip("lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Classifier(mw.lightning.Weighted):  # type: ignore[misc]
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.module.parameters(), lr=0.2, momentum=0.9)
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.7)]

    options = {"teacher": Started, "teacher_learning_rate": 0.01, "trusted_batch_size": 4}
    model = Classifier(module(rank), pairs(11, 2), **options)
    # as Lightning deals rows out to two processes, the first one again
    joined = {"batch_sampler": Own(Distributed(23, 2, 8, seed=0), None)}
    loader = mw.lightning.loader(pairs(23, 1), **({"batch_size": 4} if size > 1 else joined))
    each = lightning.pytorch.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer = lightning.Trainer(
        accelerator="cpu",
        strategy="ddp" if size > 1 else "auto",
        devices=size,
        max_epochs=2,
        accumulate_grad_batches=parts,
        gradient_clip_val=0.4,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[each],
    )
    trainer.fit(model, loader, ckpt_path=resume)
    return model


def lightning_refusal(rank: int, size: int, folder: Path) -> str:
    """What is said to a Trainer of one process in a group of several."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(mw.MetaweightError, match="strategy") as caught:
            lighten(rank, 1, folder)
    return str(caught.value)
