"""Whole translation runs: seeds, units, teachers, resuming, options that are mistakes."""

from __future__ import annotations

import csv
import math
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import pytest
import sacrebleu
import torch
from slowly import slowly
from tiny_translation import OPTIONS, TINY, changed, config, lines, pairs, write

import metaweight as mw
from metaweight.core.contracts import Batch, StepReport
from metaweight.tasks import Outcome, assemble, run, tasks
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.translation.data import loader, prepare
from metaweight.tasks.translation.task import loss_per_token
from metaweight.training.callbacks import Callback, Run
from metaweight.training.history import Interrupted
from metaweight.training.run_folder import RunFolder

NO_SENTENCES = ("class-balanced", "cmw-net")
EQUAL_WEIGHTS = {("uniform", "sentence"), ("uniform", "token"), ("self-paced", "sentence")}
"""Who gives all pairs the same weight in a first epoch."""


def figures(outcome: Outcome) -> Mapping[str, float]:
    """All but the time."""
    return {name: value for name, value in outcome.figures.items() if name != "seconds"}


@pytest.mark.slow
def test_a_seed_gives_the_same_figures_bit_for_bit(base: TranslationConfig) -> None:
    learned = changed(base, teacher="surface")
    first = run(learned)
    assert figures(run(learned)) == figures(first)
    other = figures(run(changed(base, teacher="surface", seed=1)))
    assert other["valid_loss"] != first.figures["valid_loss"]


ALTERNATELY = {
    teacher: "token" if place % 2 or teacher in NO_SENTENCES else "sentence"
    for place, teacher in enumerate(mw.teachers.names())
}
"""Each teacher with one unit by default."""


@pytest.mark.parametrize(
    ("teacher", "unit"),
    [
        *ALTERNATELY.items(),
        *slowly(
            *(
                (teacher, "sentence" if unit == "token" else "token")
                for teacher, unit in ALTERNATELY.items()
                if teacher not in NO_SENTENCES
            )
        ),
    ],
)
def test_every_teacher_weighs_every_pair(
    teacher: str, unit: str, base: TranslationConfig, tmp_path: Path
) -> None:
    chosen = changed(base, teacher=teacher, unit=unit, train_size=40, epochs=1, test_size=2)
    folder = RunFolder.create(tmp_path / "run", {})
    outcome = run(chosen, folder)
    assert all(math.isfinite(value) for value in outcome.figures.values())
    weights = folder.read_weights().weights
    assert weights.shape == (1, 40)
    assert bool((weights.isfinite() & (weights >= 0)).all())
    assert (float(weights.std()) > 0) == ((teacher, unit) not in EQUAL_WEIGHTS)


@pytest.mark.parametrize("teacher", NO_SENTENCES)
def test_a_teacher_of_labels_refuses_sentences(teacher: str, base: TranslationConfig) -> None:
    with pytest.raises(ValueError, match="take tokens as units, or another teacher"):
        run(changed(base, teacher=teacher, unit="sentence"))


def test_loss_per_token_is_the_mean_over_all_tokens(base: TranslationConfig) -> None:
    prepared = prepare(base)
    student = tasks["translation"].build(base, prepared).student
    # 16 pairs, then the 4 that are left of the meta set: a mean of means would be another number
    batches = [loader(base, prepared, "meta").batch(0, position) for position in (0, 1)]
    sums, tokens = 0.0, 0
    student.module.eval()
    with torch.no_grad():
        for batch in batches:
            logits = student.module(*batch.inputs)
            for row, targets in zip(logits, batch.targets, strict=True):
                real = targets[targets != 0]
                sums += float(
                    torch.nn.functional.cross_entropy(
                        row[: len(real)], real, reduction="sum", label_smoothing=base.smoothing
                    )
                )
                tokens += len(real)
    student.module.train()
    assert loss_per_token(student, batches)["loss"] == pytest.approx(sums / tokens, rel=1e-5)
    assert student.module.training


def test_every_token_counts_once_in_the_loss_whatever_the_unit(base: TranslationConfig) -> None:
    """Plain training on tokens and on sentences is the same training, up to the order of sums."""
    runs = [run(changed(base, teacher="uniform", unit=unit, epochs=1)) for unit in ("sentence", "token")]
    losses = [outcome.figures["valid_loss"] for outcome in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_teachers_of_tokens_know_how_often_each_piece_is_a_target(base: TranslationConfig) -> None:
    chosen = changed(base, unit="token", teacher="class-balanced")
    prepared = prepare(chosen)
    train = tasks["translation"].sources(chosen, prepared).train
    targets = torch.cat([train.batch(0, position).targets.flatten() for position in range(len(train))])
    size = len(prepared.vocabularies.target)
    expected = torch.bincount(targets[targets != 0], minlength=size)  # 100 pairs are 5 whole batches
    assert prepared.token_counts() == expected.tolist()
    reweighter = tasks["translation"].build(chosen, prepared)
    weights = [reweighter.step(train.batch(0, position)).weights for position in range(len(train))]
    assert float(torch.cat(weights).mean()) == pytest.approx(1, abs=1e-5)
    assert float(torch.cat(weights).std()) > 0.1
    grouped = tasks["translation"].build(changed(base, unit="token", teacher="cmw-net"), prepared).teacher
    assert len(grouped.group.unique()) == 3


def test_separate_vocabularies_are_kept_and_never_share_embeddings(
    base: TranslationConfig, tmp_path: Path
) -> None:
    apart = changed(base, joint_vocab=False, vocab_size=26, epochs=1, teacher="uniform")
    folder = RunFolder.create(tmp_path / "run", {})
    run(apart, folder)
    kept = sorted(path.name for path in folder.path.glob("*.model"))
    assert kept == ["source.model", "target.model"]
    state = torch.load(folder.path / "checkpoint.pt", weights_only=True)["state"]["reweighter"]["student"]
    names = [f"{stack}.embedding.weight" for stack in ("encoder", "decoder")]
    assert not torch.equal(*(state[name] for name in names))
    with pytest.raises(ValueError, match="tie=all needs joint_vocab"):
        run(changed(base, joint_vocab=False, vocab_size=26, model_options={**TINY, "tie": "all"}))


def test_a_token_budget_cuts_the_batches(base: TranslationConfig) -> None:
    budget = changed(base, max_tokens=120, teacher="uniform", epochs=1)
    train = tasks["translation"].sources(budget, prepare(budget)).train
    batches = [train.batch(0, position) for position in range(len(train))]
    assert sorted(i for batch in batches for i in batch.index.tolist()) == list(range(100))
    for batch in batches:
        assert len(batch) * max(batch.inputs[0].shape[1], batch.targets.shape[1]) <= 120
    assert math.isfinite(run(budget).figures["valid_loss"])
    with pytest.raises(ValueError, match="more than max_tokens 5; raise max_tokens"):
        run(changed(base, max_tokens=5))


def test_training_batches_are_drawn_anew_and_the_others_are_sorted(base: TranslationConfig) -> None:
    prepared = prepare(base)
    for split, shuffled in (("train", True), ("meta", True), ("valid", False)):
        batches = loader(base, prepared, split)
        orders = [torch.cat([batch.index for batch in batches.epoch(epoch)]) for epoch in (0, 1)]
        assert torch.equal(*(order.sort().values for order in orders))
        assert torch.equal(*orders) is not shuffled


class StopAfter(Callback):
    """Ctrl-C in the middle of an epoch."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self, run: Run, batch: Batch, report: StepReport) -> None:
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize(
    "options",
    [
        {"unit": "token", "max_tokens": 150, "optimizer": "adamw", "train_size": 40},
        pytest.param({"train_size": 60}, marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_ends_like_one_that_was_never_stopped(
    options: dict[str, Any], base: TranslationConfig, tmp_path: Path
) -> None:
    chosen = changed(base, teacher="attention", lr_schedule="inverse-sqrt", lr_warmup_steps=3, **options)
    whole, broken = (RunFolder.create(tmp_path / name, {}) for name in ("whole", "broken"))
    expected = run(chosen, whole)
    with pytest.raises(Interrupted):
        run(chosen, broken, callbacks=(StopAfter(4),))
    assert not (broken.path / "hypothesis.txt").exists()
    again = RunFolder.open(broken.path)
    assert figures(run(chosen, again, callbacks=(Callback(),), resume=True)) == figures(expected)
    for name in ("hypothesis.txt", "reference.txt", "pairs.csv", "weights.csv", "joint.model"):
        assert (again.path / name).read_bytes() == (whole.path / name).read_bytes()
    first, other = (
        torch.load(f.path / "checkpoint.pt", weights_only=True)["state"]["reweighter"]["student"]
        for f in (whole, again)
    )
    assert all(torch.equal(first[name], other[name]) for name in first)
    steps = [row["step"] for row in again.read_steps()]
    assert steps == list(range(1, len(steps) + 1))


def test_a_line_end_inside_a_sentence_moves_no_line_of_the_files(tmp_path: Path) -> None:
    rows = [*pairs(84, 91), ("rot\nblau", "red\nblue\u2028red")]
    for name, part in {"train": pairs(0, 60), "meta": pairs(60, 76), "test": rows}.items():
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(part)
    named = {name: str(tmp_path / f"{name}.csv") for name in ("train", "meta", "test")}
    folder = RunFolder.create(tmp_path / "run", {})
    outcome = run(TranslationConfig(**{**OPTIONS, **named, "teacher": "uniform"}), folder)
    hypotheses, references = (lines(folder.path / f"{name}.txt") for name in ("hypothesis", "reference"))
    assert (len(hypotheses), references[-1]) == (8, "red blue red")
    assert sacrebleu.corpus_bleu(hypotheses, [references]).score == outcome.figures["bleu"] > 0


def test_without_validation_there_is_nothing_to_stop_by(base: TranslationConfig) -> None:
    outcome = run(changed(base, valid_size=0, teacher="uniform", epochs=1))
    assert math.isnan(outcome.figures["valid_loss"])
    assert outcome.figures["bleu"] >= 0
    with pytest.raises(ValueError, match="early stopping"):
        run(changed(base, valid_size=0, patience=1))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beam": 0}, ValueError, "beam is 1 or more, got 0"),
        ({"length_penalty": math.inf}, ValueError, "length_penalty is finite"),
        ({"vocab_size": 3}, ValueError, "vocab_size is more than the 4 special pieces, got 3"),
        ({"vocab_size": 5000}, ValueError, "vocab_size 5000 is more than the text allows"),
        ({"meta_size": 0}, ValueError, "the meta set is empty; meta_size is 1 or more"),
        ({"test_size": 0}, ValueError, "the test set is empty; test_size is 1 or more"),
        ({"batch_size": 101}, ValueError, "batch_size 101 gives no batch of 100 pairs"),
        ({"unit": "word"}, ValueError, "a unit of text is sentence or token, got 'word'"),
        ({"languages": ("de", "de")}, ValueError, "languages are two"),
        ({"overlap": "dorp"}, ValueError, "unknown overlap 'dorp'. Did you mean 'drop'"),
        ({"meta": "trusted.tsv"}, ValueError, "meta goes with train"),
        ({"noise": "mixd"}, KeyError, "Did you mean 'mixed'"),
        ({"noise": "wrong-language"}, ValueError, "wrong-language"),
        ({"model": "transformer-tny"}, KeyError, "Did you mean 'transformer-tiny'"),
        ({"taps": ("encodr",)}, KeyError, "Did you mean 'encoder'"),
    ],
)
def test_a_bad_option_is_an_error_before_anything_is_trained(
    options: dict[str, Any], error: type[Exception], message: str, base: TranslationConfig
) -> None:
    chosen = changed(base, **options)
    with pytest.raises(error, match=re.escape(message)):
        assemble(chosen, prepare(chosen))


def test_a_test_sentence_that_would_take_hours_is_refused(base: TranslationConfig, tmp_path: Path) -> None:
    """A set's own test split is not filtered: it is what everybody is measured on."""
    rows = [*pairs(0, 130), ("rot " * 1100, "red")]
    parts = {"train": rows[:100], "validation": rows[100:120], "test": rows[120:]}
    columns = {
        name: dict(zip(("de", "en"), zip(*part, strict=True), strict=True)) for name, part in parts.items()
    }
    saved = datasets.DatasetDict({name: datasets.Dataset.from_dict(part) for name, part in columns.items()})
    saved.save_to_disk(str(tmp_path / "hub"))
    sizes = {"train_size": 60, "valid_size": None, "test_size": None}
    chosen = config(f"hf:{tmp_path / 'hub'}", languages=("de", "en"), **sizes)
    with pytest.raises(
        ValueError, match=r"split test, row 11: the source of this test pair has [\d,]+ pieces, more"
    ):
        prepare(chosen)


def test_a_digest_tells_which_part_of_the_data_has_changed(tmp_path: Path) -> None:
    parts = {"train": pairs(0, 60), "meta": pairs(60, 76), "valid": pairs(76, 84), "test": pairs(84, 92)}

    def digests(folder: str, **changes: list[tuple[str, str]]) -> dict[str, str]:
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = {name: tmp_path / folder / f"{name}.tsv" for name in parts}
        for name, path in paths.items():
            write(path, changes.get(name, parts[name]))
        return dict(prepare(TranslationConfig(**OPTIONS, **{n: str(p) for n, p in paths.items()})).digests)

    first = digests("a")
    assert list(first) == ["training rows", "trusted rows", "validation rows", "test rows", "vocabulary"]
    assert first == digests("b")  # it is the text that counts, not where it lies

    def moved(**changes: list[tuple[str, str]]) -> list[str]:
        return [name for name, value in digests("c", **changes).items() if value != first[name]]

    assert moved(train=parts["train"][::-1]) == ["training rows"]
    assert moved(meta=parts["meta"][:-1]) == ["trusted rows"]
    assert moved(valid=[(a + " ", b) for a, b in parts["valid"]]) == ["validation rows"]
    assert moved(test=parts["test"][1:]) == ["test rows"]
    assert moved(train=[*parts["train"], ("grün", "green")]) == ["training rows", "vocabulary"]
