"""Probes: which trusted rows are planted, with which labels, and that nobody else notices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_images
import tiny_translation
import torch

from metaweight.comparison.cells import check_options
from metaweight.core.csv_text import read_csv
from metaweight.core.weights import auroc
from metaweight.data.splits import Splits
from metaweight.data.text import Bitext
from metaweight.tasks import run, tasks
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.probes import RIGHT, WRONG, plant
from metaweight.training.run_folder import RunFolder

LABELS = torch.arange(200) % 4
SPLITS = Splits(torch.arange(120), torch.arange(120, 180), torch.arange(180, 200))


def drawing(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("share", "count"), [(0.05, 6), (0.1, 12), (0.5, 28), (0.99, 28)])
def test_trusted_rows_move_and_half_get_another_class(share: float, count: int) -> None:
    """At most half of the 15 trusted rows of each class, so 7: 28 in all."""
    splits, labels, probes = plant(SPLITS, LABELS, share, generator=drawing())
    held = probes.positions
    assert len(held) == count
    assert torch.equal(splits.train, torch.cat([SPLITS.train, held]))
    assert sorted(splits.meta.tolist() + held.tolist()) == SPLITS.meta.tolist()
    assert torch.equal(splits.valid, SPLITS.valid)
    assert int(probes.wrong.sum()) == count // 2
    assert torch.equal(labels[held[~probes.wrong]], LABELS[held[~probes.wrong]])
    assert bool((labels[held[probes.wrong]] != LABELS[held[probes.wrong]]).all())
    others = torch.ones(200, dtype=torch.bool).index_fill(0, held, False)
    assert torch.equal(labels[others], LABELS[others])
    assert int(torch.bincount(LABELS[splits.meta]).min()) >= 8
    marks = probes.marks(splits.train)
    assert marks[:120].tolist() == [0] * 120
    assert torch.equal(marks[120:] == WRONG, probes.wrong)
    assert set(marks[120:].tolist()) == {RIGHT, WRONG}
    again = plant(SPLITS, LABELS, share, generator=drawing())
    assert torch.equal(again[1], labels)


def test_wrong_classes_are_drawn_evenly_from_those_that_there_are() -> None:
    labels = 3 * (torch.arange(3000) % 4)  # classes 0, 3, 6, 9
    splits = Splits(torch.arange(1000), torch.arange(1000, 3000), torch.empty(0, dtype=torch.int64))
    _, given, probes = plant(splits, labels, 0.99, generator=drawing())
    bad = probes.positions[probes.wrong]
    steps = ((given[bad] - labels[bad]) % 12) // 3
    assert torch.bincount(steps).tolist()[0] == 0
    assert all(130 < count < 210 for count in torch.bincount(steps).tolist()[1:])  # 495 / 3


@pytest.mark.parametrize("shape", [(), (3,)])
def test_numbers_get_the_target_of_another_row(shape: tuple[int, ...]) -> None:
    targets = torch.rand(200, *shape, generator=drawing(1)).round(decimals=1)
    splits, given, probes = plant(SPLITS, targets, 0.3, generator=drawing())
    right, bad = probes.positions[~probes.wrong], probes.positions[probes.wrong]
    assert len(probes.wrong) == 30  # half of 60
    assert torch.equal(given[right], targets[right])
    differ = (given[bad] != targets[bad]).reshape(len(bad), -1).any(dim=1)
    assert bool(differ.all())
    rows = {str(row) for row in targets[SPLITS.train].tolist()}
    assert all(str(row) in rows for row in given[bad].tolist())
    assert len(splits.meta) == 30
    with pytest.raises(ValueError, match="nearly all training rows have one target"):
        plant(SPLITS, torch.ones(200), 0.3, generator=drawing())


def test_what_is_no_test_is_refused() -> None:
    with pytest.raises(ValueError, match=r"probes=0.001 of 120 training rows, .* 60 trusted ones, gives 0"):
        plant(SPLITS, LABELS, 0.001, generator=drawing())
    lone = Splits(SPLITS.train, torch.tensor([120, 121, 122]), SPLITS.valid)
    with pytest.raises(ValueError, match="gives 0: a test needs 2 at least"):
        plant(lone, LABELS, 0.5, generator=drawing())
    base = tiny_images.config(teacher="uniform")
    for value in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="probes is a share of the training rows"):
            check_options(replace(base, probes=value))
    with pytest.raises(ValueError, match="remedy 'with-meta' goes without"):
        check_options(replace(base, probes=0.1, remedy="with-meta"))


def test_a_run_on_images_tells_probes_and_rows_apart(tmp_path: Path) -> None:
    small = tiny_images.config(teacher="knn", noise="uniform", epochs=2, warmup_epochs=1)
    config = replace(small, meta_size=40, probes=0.3)
    plain = tasks["image"].prepare(replace(config, probes=0.0))
    prepared = tasks["image"].prepare(config)
    assert torch.equal(prepared.own, plain.splits.train)
    assert torch.equal(prepared.noise.flipped, plain.noise.flipped)
    assert "18 of the 40 trusted rows are planted in the training set as probes, 9 of them" in prepared.source
    assert prepared.digests["trusted rows"] != plain.digests["trusted rows"]
    outcome = run(config, RunFolder.create(tmp_path / "run", {}))
    samples = RunFolder.open(tmp_path / "run").read_weights()
    assert samples.warmup == 1
    assert samples.probe.tolist()[:60] == [0] * 60
    assert torch.equal(samples.probe[60:] == WRONG, prepared.probes.wrong)
    wrong = samples.given != samples.clean
    assert torch.equal(wrong, samples.flipped)
    assert torch.equal(wrong[60:], prepared.probes.wrong)
    own = samples.own
    means = own.mean_weight()
    seen = means.isfinite()  # the last rows of an epoch fill no batch
    assert outcome.figures["auroc"] == pytest.approx(auroc(means[seen], own.flipped[seen]))
    assert outcome.fates == own.fates()
    assert len(read_csv(tmp_path / "run" / "weights.csv")) == 60


def test_probes_are_not_drawn_from_rows_that_nobody_checked(base: TranslationConfig) -> None:
    with pytest.raises(ValueError, match="nobody has checked those that meta_from_train draws"):
        tasks["translation"].prepare(tiny_translation.changed(base, probes=0.2))


def translation(folder: Path, **options: Any) -> TranslationConfig:
    files = {name: str(path) for name, path in tiny_translation.own_files(folder).items()}
    return TranslationConfig(**{**tiny_translation.OPTIONS, **files, "teacher": "mlp", **options})


def test_a_run_on_pairs_tells_probes_and_pairs_apart(tmp_path: Path) -> None:
    config = translation(tmp_path, probes=0.2, noise="misaligned", noise_rate=0.3)
    prepared = tasks["translation"].prepare(config)
    plain = tasks["translation"].prepare(replace(config, probes=0.0))
    assert (prepared.own, prepared.samples, len(prepared.text.meta)) == (60, 76, 8)
    assert prepared.noisy.bitext.source[:60] == plain.noisy.bitext.source
    assert prepared.noisy.bitext.target[:60] == plain.noisy.bitext.target
    clean, given = prepared.text.train, prepared.noisy.bitext
    differ = [one != other for one, other in zip(clean.target, given.target, strict=True)]
    assert differ[60:] == prepared.probes.wrong.tolist() == [False, True] * 4
    trusted = set(zip(plain.text.meta.source, plain.text.meta.target, strict=True))
    moved = list(zip(clean.source[60:], clean.target[60:], strict=True))
    assert trusted == {*moved, *zip(prepared.text.meta.source, prepared.text.meta.target, strict=True)}
    assert set(given.target[60:]) - set(clean.target[60:]) <= set(plain.text.train.target)
    assert [str(place) for place in prepared.origins][60:] == [
        str(plain.text.meta.places[plain.text.meta.source.index(source)]) for source, _ in moved
    ]
    outcome = run(config, RunFolder.create(tmp_path / "run", {}))
    samples = RunFolder.open(tmp_path / "run").read_weights()
    assert samples.probe.tolist() == [0] * 60 + [RIGHT, WRONG] * 4
    own = samples.own
    assert outcome.figures["auroc"] == pytest.approx(auroc(own.mean_weight(), own.flipped))
    for name in ("weights.csv", "pairs.csv"):
        assert [row["index"] for row in read_csv(tmp_path / "run" / name)] == [str(n) for n in range(60)]


def test_pairs_that_share_a_sentence_with_another_trusted_one_are_no_probes(tmp_path: Path) -> None:
    config = translation(tmp_path, probes=0.9)
    rows = tiny_translation.pairs(60, 76)
    shared = [(source, rows[0][1]) for source, _ in rows[:8]] + rows[8:]
    tiny_translation.write(tmp_path / "meta.tsv", shared)
    prepared = tasks["translation"].prepare(config)
    assert prepared.probes.trusted == 16
    assert set(prepared.text.train.source[60:]) < {source for source, _ in rows[8:]}
    assert isinstance(prepared.text.meta, Bitext)
