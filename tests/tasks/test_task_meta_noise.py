"""Wrong labels among the trusted ones: in the meta set alone, in its batches, and said in the figures."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from metaweight.data import load_images
from metaweight.tasks import Outcome, run, tasks
from metaweight.tasks.config import ImageConfig
from metaweight.tasks.image import data as image_data
from metaweight.tasks.outcome import RunResult
from metaweight.training.run_folder import RunFolder

TASK = tasks["image"]
BASE = ImageConfig(
    train_size=60,
    meta_size=50,
    valid_size=20,
    noise="flip",
    batch_size=20,
    epochs=1,
    warmup_epochs=0,
    model_options={"width": 4},
)


def test_only_the_meta_set_changes_and_its_batches_carry_the_labels() -> None:
    clean, spoilt = TASK.prepare(BASE), TASK.prepare(replace(BASE, meta_noise_rate=0.5))
    right = clean.images.train_labels
    meta = clean.splits.meta
    others = torch.ones(len(right), dtype=torch.bool)
    others[meta] = False
    assert torch.equal(spoilt.labels[others], clean.labels[others])
    assert torch.equal(spoilt.splits.meta, meta)
    assert torch.equal(clean.labels[meta], right[meta])
    assert clean.meta_noise is None
    wrong = spoilt.labels[meta] != right[meta]
    assert spoilt.meta_noise.realised == wrong.double().mean()
    assert 0.25 < spoilt.meta_noise.realised < 0.65  # 0.5 less the tenth that hits the right class, of 50
    source = TASK.sources(replace(BASE, meta_noise_rate=0.5), spoilt).meta
    batch = source.batch(0, 0)
    assert torch.equal(batch.targets, spoilt.labels[batch.index])
    held = TASK.evaluation(BASE, spoilt).batches["valid"]
    assert all(torch.equal(b.targets, right[b.index]) for b in held)


def said(outcome: Outcome) -> list[tuple[str, str]]:
    history = tuple(outcome.history.epochs)
    figures = {name: None if math.isnan(value) else value for name, value in outcome.figures.items()}
    return TASK.presentation.of_run(RunResult("a", "none", 0, figures, history=history))


def test_the_rate_is_a_figure_only_where_there_is_noise() -> None:
    config = replace(BASE, meta_noise_rate=0.5)
    outcome = run(config)
    assert outcome.figures["meta_noise"] == TASK.prepare(config).meta_noise.realised
    line = ("wrong labels in the meta set", f"{outcome.figures['meta_noise']:.1%}")
    assert line in said(outcome)
    plain = run(BASE)
    assert "meta_noise" not in plain.figures
    assert not any("meta set" in what for what, _ in said(plain))


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="a noise rate lies between 0 and 1"):
        TASK.prepare(replace(BASE, meta_noise_rate=rate))


@pytest.mark.parametrize(
    ("options", "known"),
    [
        ({"data": "hf:mine", "noise": "none", "meta_from_train": True}, False),
        ({"data": "hf:mine", "meta_from_train": True}, True),
        ({"noise": "none"}, True),
    ],
)
def test_whose_labels_nobody_spoilt_and_nobody_vouches_for_is_unknown(
    options: dict[str, Any], known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = replace(load_images("digits"), clean=not options.get("data", "").startswith("hf:"))
    monkeypatch.setattr(image_data, "_images", lambda *_: digits)
    config = replace(BASE, **options)
    assert image_data.knows_right_labels(config, digits) == known
    folder = RunFolder.create(tmp_path / "run", {})
    run(config, folder)
    kept = folder.read_weights()
    assert (kept.flipped is not None, kept.clean is not None) == (known, known)
    assert kept.given is not None
    assert (TASK.pool(config, TASK.prepare(config)).flipped is not None) == known
