"""Whom a translation run trusts, and what it says of bad pairs that nobody knows."""

from __future__ import annotations

import math
from pathlib import Path

import datasets
import pytest
from tiny_translation import changed, config, pairs

from metaweight.tasks import run
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.outcome import RunResult
from metaweight.tasks.translation.data import prepare
from metaweight.tasks.translation.task import TranslationTask


def test_trusted_pairs_of_own_data_are_named_or_asked_for(base: TranslationConfig, tmp_path: Path) -> None:
    unasked = changed(base, teacher="mlp", meta_from_train=False)
    for refused in (prepare, TranslationTask().check):
        with pytest.raises(
            ValueError, match=r"teacher 'mlp' needs 20 trusted rows .*--train FILE --meta FILE.*"
        ):
            refused(unasked)
    drawn = "are drawn out of the training rows, which nobody has checked: "
    assert f"{drawn}meta_from_train" in prepare(changed(base, noise="none")).source
    plain = prepare(changed(unasked, teacher="uniform", meta_from_train=False)).source
    assert f"{drawn}the teacher looks at none of them" in plain
    assert "bad ones are those that the noise put in" in plain
    prepare(config("cldr", teacher="mlp", meta_from_train=False, vocab_size=120))

    spans = {"train": (0, 120), "checked": (120, 150), "validation": (150, 166), "test": (166, 190)}
    columns = {
        part: dict(zip(("de", "en"), zip(*pairs(*span), strict=True), strict=True))
        for part, span in spans.items()
    }
    saved = datasets.DatasetDict({part: datasets.Dataset.from_dict(one) for part, one in columns.items()})
    saved.save_to_disk(str(tmp_path / "hub"))
    sizes = {"meta_from_train": False, "teacher": "mlp", "valid_size": None, "test_size": None}
    named = f"hf:{tmp_path / 'hub'}?meta=checked"
    text = prepare(config(named, languages=("de", "en"), **sizes)).text
    assert text.meta.source == tuple(columns["checked"]["de"][:20])
    assert "20 of 30 trusted pairs are the meta set" in text.notes
    with pytest.raises(ValueError, match="meta_from_train has no meaning beside train"):
        prepare(TranslationConfig(train="a.tsv", meta="b.tsv", valid="c.tsv", meta_from_train=True))


def test_bad_pairs_that_nobody_knows_are_no_zero(base: TranslationConfig) -> None:
    outcome = run(changed(base, noise="none", teacher="uniform", epochs=1))
    assert math.isnan(outcome.figures["realised_noise"])
    assert math.isnan(outcome.figures["auroc"])
    figures = {name: None if math.isnan(value) else value for name, value in outcome.figures.items()}
    result = RunResult("a", "none", 0, figures, history=(), details=outcome.details)
    lines = dict(TranslationTask.presentation.of_run(result))
    assert lines["bad pairs in the training set"] == "not known"
    assert not any("AUROC" in what for what in lines)
