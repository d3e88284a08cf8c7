"""Rank correlations of a small causal language model on text of which a share is junk."""

from __future__ import annotations

import torch

import metaweight as mw
from benchmarks.influence.believed import Believed, Plain, Subject, certified
from benchmarks.lm.texts import Sizes, texts
from benchmarks.speed.language import LanguageModel, next_byte
from metaweight.data.folder import VARIABLE, data_folder
from metaweight.data.seeding import derive
from metaweight.training.learning_rate import LearningRate

LENGTH, BATCH, EPOCHS, LAYERS = 33, 50, 6, 2
SIZES = Sizes(train=600, trusted=100, test=100, length=LENGTH, share=0.4)
SUBJECT = Subject("language model, 600 windows of 32 bytes", "language", {})


class Windows:
    """Batches of windows in an order drawn for each epoch."""

    def __init__(self, whole: mw.Batch, seed: int) -> None:
        self.whole, self.seed = whole, seed

    def __len__(self) -> int:
        return len(self.whole) // BATCH

    def batch(self, epoch: int, position: int) -> mw.Batch:
        """Some of the rows."""
        order = torch.randperm(len(self.whole), generator=derive(self.seed, "windows", epoch))
        return self.whole.rows(order[position * BATCH : (position + 1) * BATCH])


def believed_language(junk: str, seed: int, *, subsets: int, jobs: int) -> Believed:
    """Fiction, a share of whose windows are ``junk``, see benchmarks.lm.

    Raises ValueError where the texts are not there.
    """
    folder = data_folder(None)
    if folder is None:
        raise ValueError(f"the texts are not part of the project: name their folder with {VARIABLE}")
    found = texts("fiction", junk, SIZES, seed, folder)
    meta = _rows(found.trusted)

    def plain() -> Plain:
        torch.manual_seed(seed)
        module = LanguageModel(LAYERS, LENGTH - 1)
        optimizer = torch.optim.AdamW(module.parameters(), lr=1e-3, eps=1e-6)
        course = LearningRate("cosine", warmup_steps=10)
        source = Windows(_rows(found.train), seed)
        return Plain(mw.Student(module, next_byte), optimizer, source, EPOCHS, len(found.train), course)

    train = torch.arange(len(found.train))
    return certified(
        SUBJECT, (junk, seed), plain, meta, meta, train, found.junk, {}, subsets=subsets, jobs=jobs
    )


def _rows(windows: torch.Tensor) -> mw.Batch:
    return mw.Batch((windows[:, :-1],), windows[:, 1:], torch.arange(len(windows)))
