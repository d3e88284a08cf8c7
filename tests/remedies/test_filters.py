"""Filters drop exactly what they should, on cases made for it."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from metaweight import remedies
from metaweight.core.modes import evaluating
from metaweight.data import derive
from metaweight.remedies import Course
from metaweight.remedies.filters import LengthRatio, folds, largest
from metaweight.student.losses import cross_entropy
from metaweight.student.student import Student
from metaweight.tasks import Pool, tasks
from metaweight.tasks.config import ImageConfig, TranslationConfig
from metaweight.training.run_folder import RunFolder


def test_the_largest_share() -> None:
    values = torch.tensor([0.3, 5.0, 0.1, 4.0, 2.0, 1.0, 0.2, 0.0, 0.4, 3.0])
    assert largest(values, 0.3).nonzero().flatten().tolist() == [1, 3, 9]
    assert largest(values, 0.39).nonzero().flatten().tolist() == [1, 3, 9]
    assert not largest(values, 0.0).any()
    assert int(largest(torch.rand(100), 0.29).sum()) == 29  # 0.29 * 100 is a little less


def test_the_loss_filter_drops_the_largest_losses(
    digits: ImageConfig, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = replace(digits, remedy="loss-filter")
    prepared = tasks["image"].prepare(chosen)
    flipped = prepared.noise.flipped
    share = int(flipped.sum()) / len(flipped)
    monkeypatch.setattr(Course, "losses", lambda *_: flipped.double() + torch.linspace(0, 0.5, len(flipped)))
    folder = RunFolder.create(tmp_path / "run", {})
    outcome = remedies.run(replace(chosen, remedy_options={"share": share + 1e-6}), folder, prepared=prepared)
    weights = folder.read_weights()
    assert torch.equal(weights.mean_weight() == 0, flipped)
    assert torch.equal(weights.loss.isnan().all(dim=0)[flipped], torch.ones(int(flipped.sum())).bool())
    assert bool((weights.mean_weight()[~flipped].nan_to_num(1) == 1).all())
    assert outcome.figures["auroc"] == 1.0


def test_a_samples_loss_is_its_own_in_evaluation(digits: ImageConfig) -> None:
    prepared = tasks["image"].prepare(digits)
    course = Course(digits, prepared)
    student = course.build().student
    own = course.pool.train.flip(0)
    losses, says = course.losses(student, own), course.probabilities(student, own)
    images = prepared.images
    inputs = (images.train_images[own] / 255 - images.mean[0]) / images.std[0]
    with torch.no_grad(), evaluating(student.module):
        logits = student.module(inputs)
    assert torch.allclose(losses, cross_entropy(logits, prepared.labels[own]).double(), rtol=1e-4)
    assert torch.allclose(says, logits.softmax(dim=-1).double(), rtol=1e-4)


def test_length_ratios_outside_the_trusted_range_are_dropped() -> None:
    ratios = [0.4, 0.5, 1.0, 2.0, 2.1, 5.0, 1.9]  # of training pairs, and then of trusted ones
    trusted = [2.0, 0.5, 1.0, 0.8]
    lengths = torch.tensor([[10, round(10 * ratio)] for ratio in ratios + trusted])
    pool = Pool(torch.arange(7), torch.arange(7, 11), None, None, lengths={"pieces": lengths})
    course: Any = SimpleNamespace(pool=pool, config=None, batches=lambda positions: positions)
    stage = LengthRatio(coverage=1.0).last(course)
    assert stage.kept is not None
    assert stage.kept.tolist() == [1, 2, 3, 6]
    # of 101 trusted ratios 1, 2, ..., 101 the middle 0.9 reaches from 6 to 96
    many = torch.stack([torch.ones(101), torch.arange(1, 102)], dim=1).long()
    both = torch.cat([many, many])
    pool = Pool(torch.arange(101), torch.arange(101, 202), None, None, lengths={"pieces": both})
    course = SimpleNamespace(pool=pool, config=None, batches=lambda positions: positions)
    stage = LengthRatio(coverage=0.89999).last(course)
    assert stage.kept is not None
    assert (stage.kept + 1).tolist() == list(range(7, 96))


def test_lengths_of_pairs_are_those_of_their_sentences(colours: TranslationConfig) -> None:
    prepared = tasks["translation"].prepare(colours)
    pool = tasks["translation"].pool(colours, prepared)  # type: ignore[attr-defined]
    assert (len(pool.train), len(pool.meta)) == (100, 20)
    for position in (0, 57, 99, 100, 119):
        split, row = ("train", position) if position < 100 else ("meta", position - 100)
        pairs, pieces = prepared.pairs(split), prepared.encoded(split)
        assert pool.lengths["characters"][position].tolist() == [
            len(pairs.source[row]),
            len(pairs.target[row]),
        ]
        assert pool.lengths["pieces"][position].tolist() == [len(pieces[0][row]), len(pieces[1][row])]
        batch = (
            tasks["translation"]
            .batches(  # type: ignore[attr-defined]
                colours, prepared, torch.tensor([position]), training=False
            )
            .batch(0, 0)
        )
        assert batch.targets[0, :-1].tolist() == pieces[1][row]


def test_folds_hold_every_class_evenly() -> None:
    labels = torch.tensor([0] * 9 + [1] * 30 + [2] * 5)
    fold = folds(labels, 3, derive(0, "folds"))
    for k, total in enumerate((9, 30, 5)):
        counts = torch.bincount(fold[labels == k], minlength=3)
        assert int(counts.sum()) == total
        assert int(counts.max() - counts.min()) <= 1
    assert not torch.equal(fold, folds(labels, 3, derive(1, "folds")))


def test_confident_learning_asks_students_that_saw_nothing_and_drops_what_they_doubt(
    digits: ImageConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = tasks["image"].prepare(replace(digits, train_size=400))
    right, asked, trained = prepared.images.train_labels, [], []

    def plain(_course: Course, name: str = "plain", positions: Tensor | None = None) -> Student | None:
        assert positions is not None
        trained.append(set(positions.tolist()))
        return None

    def says(_course: Course, _student: object, positions: Tensor) -> Tensor:
        asked.append(set(positions.tolist()))
        return (0.91 - 0.01) * torch.eye(10).double()[right[positions]] + 0.01

    monkeypatch.setattr(Course, "plain", plain)
    monkeypatch.setattr(Course, "probabilities", says)
    course = Course(digits, prepared)
    remedy = remedies.build_remedy(replace(digits, remedy="confident-learning"))
    assert remedy is not None
    stage = remedy.last(course)
    assert len(asked) == len(trained) == 3
    everything = set(course.pool.train.tolist())
    for scored, seen in zip(asked, trained, strict=True):
        assert not scored & seen
        assert scored | seen == everything
    assert set().union(*asked) == everything
    assert stage.kept is not None
    assert torch.equal(torch.isin(course.pool.train, stage.kept), ~prepared.noise.flipped)


def test_without_cleanlab_the_extra_is_named(digits: ImageConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    with pytest.raises(ImportError, match=r"pip install 'metaweight\[cleanlab\]'"):
        remedies.run(replace(digits, remedy="confident-learning"))


def test_a_filter_that_leaves_nothing_is_refused() -> None:
    pool = Pool(torch.arange(2), torch.arange(2, 4), None, None)
    pool = replace(pool, lengths={"pieces": torch.tensor([[1, 9], [1, 9], [1, 1], [1, 1]])})
    course: Any = SimpleNamespace(pool=pool, config=None, batches=lambda positions: positions)
    with pytest.raises(ValueError, match="dropped every training sample"):
        LengthRatio().last(course)
