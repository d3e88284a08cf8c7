"""Trusted samples that are trained on too: which runs do, by which index, and what stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_translation
import torch

from metaweight.comparison.plain import plain_config
from metaweight.core.csv_text import read_csv
from metaweight.remedies.base import build_remedy
from metaweight.tasks import identity, run, run_manifest, tasks
from metaweight.tasks.assembly import trains_on_meta
from metaweight.tasks.config import ImageConfig, RunConfig, TabularConfig, TranslationConfig, config_from
from metaweight.training.run_folder import RunFolder

SMALL: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0, "meta_size": 30, "valid_size": 20}


@pytest.fixture(params=["image", "tabular", "translation"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> RunConfig:
    if request.param == "image":
        return ImageConfig(train_size=60, batch_size=10, model_options={"width": 4}, noise="flip", **SMALL)
    if request.param == "tabular":
        return TabularConfig(data="diabetes", noise="shuffled", batch_size=16, **SMALL)
    files = {name: str(path) for name, path in tiny_translation.own_files(tmp_path).items()}
    options = {**tiny_translation.OPTIONS, **files, "teacher": "auto", "noise": "misaligned", "epochs": 1}
    return TranslationConfig(**options)


def indices(config: RunConfig, part: str) -> torch.Tensor:
    """Of all samples of the first epoch of ``train`` or ``meta``."""
    prepared = tasks[config.task].prepare(config)
    source = getattr(tasks[config.task].sources(config, prepared), part)
    return torch.cat([source.batch(0, at).index for at in range(len(source))])


def test_auto_trains_on_the_trusted_samples_by_their_own_index_and_plain_training_does_not(config):
    pool = tasks[config.task].pool(config, tasks[config.task].prepare(config))
    everything = torch.cat([pool.train, pool.meta]).tolist()
    assert set(indices(config, "meta").tolist()) <= set(pool.meta.tolist())
    joined = indices(config, "train").tolist()
    assert len(set(joined)) == len(joined)
    assert set(joined) <= set(everything)
    assert set(joined) & set(pool.meta.tolist())
    dropped = len(everything) - len(joined)  # of images and pairs a last batch that is not full
    assert 0 <= dropped < config.batch_size
    for other in ({"teacher": "uniform"}, {"train_on_meta": False}):
        alone = set(indices(replace(config, **other), "train").tolist())
        assert alone <= set(pool.train.tolist())
    asked = indices(replace(config, teacher="uniform", train_on_meta=True), "train").tolist()
    assert asked == joined


def test_what_both_loaders_say_of_a_trusted_sample_is_the_same(config):
    prepared = tasks[config.task].prepare(config)
    train, meta = tasks[config.task].sources(config, prepared)
    first = meta.batch(0, 0)
    told = {int(at): target.tolist() for at, target in zip(first.index, first.targets, strict=True)}
    seen = 0
    for place in range(len(train)):
        batch = train.batch(0, place)
        for at, target in zip(batch.index.tolist(), batch.targets, strict=True):
            if at in told:
                seen += 1
                both = [target.tolist(), told[at]]
                # of sentences without the padding of their batch
                own = [[word for word in one if word] if isinstance(one, list) else one for one in both]
                assert own[0] == own[1]
    assert seen > 0


def test_files_hold_the_training_samples_alone(config, tmp_path):
    run(config, RunFolder.create(tmp_path / "run", {}))
    prepared = tasks[config.task].prepare(config)
    pool = tasks[config.task].pool(config, prepared)
    rows = read_csv(tmp_path / "run" / "weights.csv")
    assert sorted(int(row["index"]) for row in rows) == sorted(pool.train.tolist())


def test_the_plain_run_beside_a_run_has_the_same_rows(config):
    beside = plain_config(config)
    assert beside.teacher == "uniform"
    assert indices(beside, "train").tolist() == indices(config, "train").tolist()
    assert not trains_on_meta(plain_config(replace(config, train_on_meta=False)))


def test_a_run_of_before_goes_on_without_them(tmp_path, monkeypatch):
    """Its manifest has no such option, and its digest of the options is of those that there were."""
    kept = {"teacher": "auto", "epochs": 3}
    assert config_from(ImageConfig, kept).train_on_meta is False
    assert config_from(ImageConfig, {**kept, "train_on_meta": None}).train_on_meta is None
    assert config_from(ImageConfig, {**kept, "teacher": "memory"}).train_on_meta is None
    config = ImageConfig(teacher="memory", train_size=60, model_options={"width": 4}, **SMALL)
    prepared = tasks["image"].prepare(config)
    about = run_manifest(config, prepared)
    del about["config"]["train_on_meta"]
    about["digests"][identity.OPTIONS] = identity._digest_of(config, about["config"])
    again = config_from(ImageConfig, about["config"])
    assert identity._digest_of(config) != about["digests"][identity.OPTIONS]
    identity.require_options(tmp_path, about, again)
    with pytest.raises(ValueError, match="was changed; put it back"):
        identity.require_options(tmp_path, about, replace(again, lr=0.5))


def test_a_trusted_pair_that_no_training_batch_holds_only_teaches(tmp_path):
    rows = tiny_translation.pairs(60, 76)
    files = {name: str(path) for name, path in tiny_translation.own_files(tmp_path).items()}
    long = [(" ".join([rows[0][0]] * 9), " ".join([rows[0][1]] * 9))]
    tiny_translation.write(tmp_path / "meta.tsv", long + rows[1:])
    options = {**tiny_translation.OPTIONS, **files, "teacher": "auto", "max_tokens": 40, "epochs": 1}
    config = TranslationConfig(**options)
    assert 60 in indices(config, "meta").tolist()
    assert sorted(indices(config, "train").tolist()) == [*range(60), *range(61, 76)]


def test_a_remedy_says_itself_what_it_trains_on():
    config = ImageConfig(teacher="uniform", remedy="glc", train_on_meta=True)
    with pytest.raises(ValueError, match="says itself what it trains on"):
        build_remedy(config)
    assert build_remedy(replace(config, train_on_meta=None)) is not None
