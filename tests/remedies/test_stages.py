"""Runs under a remedy: their stages, their folders, stopping and going on, what is refused."""

from __future__ import annotations

import math
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from published import compare
from rich.console import Console
from slowly import one_in, slowly

from metaweight import remedies
from metaweight.cli.main import main
from metaweight.comparison.grid import Grid
from metaweight.core.options import spelt_options
from metaweight.tasks import Outcome, run, tasks
from metaweight.tasks.config import ImageConfig, TranslationConfig
from metaweight.training import checkpoint
from metaweight.training.callbacks import Callback, Run, Throughput
from metaweight.training.history import Interrupted
from metaweight.training.run_folder import RunFolder

EVERY = remedies.remedies.names()
FOR_CLASSES = ("glc", "co-teaching", "confident-learning")
TOGETHER = {
    "fine-tune": {"epochs": 2, "lr_factor": 0.5},
    "early-stopping": {"patience": 1},
    "co-teaching": {"gradual": 1},
    "confident-learning": {"folds": 2},
    "whole-run": {"rounds": 1},
    "whole-run-teacher": {"rounds": 1, "teacher": "surface"},
}
"""Options under which the tiny runs below do all that a remedy can do."""


def under(base: Any, remedy: str, **options: Any) -> Any:
    return replace(base, remedy=remedy, remedy_options=TOGETHER.get(remedy, {}), **options)


def figures(outcome: Outcome) -> dict[str, float | None]:
    """All but the time; None for NaN, which does not equal itself."""
    return {n: None if math.isnan(v) else v for n, v in outcome.figures.items() if n != "seconds"}


class Steps(Callback):
    """Counts steps over all stages and stops at one: as Ctrl-C does, or as a crash."""

    def __init__(self, stop: int = -1, *, crash: bool = False) -> None:
        self.seen, self.stop, self.crash = 0, stop, crash

    def on_step(self, run: Run, *_: Any) -> None:
        self.seen += 1
        if self.seen == self.stop:
            if self.crash:
                raise RuntimeError("no power")
            signal.raise_signal(signal.SIGINT)


def contents(path: Path) -> tuple[bytes, list[dict[str, Any]], dict[str, torch.Tensor]]:
    """Weights by sample, steps and the last student of a run folder."""
    folder = RunFolder.open(path)
    state = torch.load(path / "checkpoint.pt", weights_only=True)["state"]
    return (path / "weights.npz").read_bytes(), folder.read_steps(), state["reweighter"]["student"]


@pytest.mark.parametrize(
    "remedy", ["with-meta", *slowly("meta-only", "clean-and-meta", "early-stopping"), *one_in(2, FOR_CLASSES)]
)
def test_a_stopped_run_goes_on_bit_for_bit(remedy: str, digits: ImageConfig, tmp_path: Path) -> None:
    config = under(digits, remedy)
    counter = Steps()
    whole = remedies.run(config, RunFolder.create(tmp_path / "whole", {}), callbacks=(counter,))
    theirs = contents(tmp_path / "whole")
    # in an early stage, and where a crash comes before the last one's first checkpoint
    for stop, crash in ((counter.seen // 3, False), (2 * counter.seen // 3, True)):
        path = tmp_path / f"stopped-{stop}"
        with pytest.raises(RuntimeError if crash else Interrupted):
            remedies.run(config, RunFolder.create(path, {}), callbacks=(Steps(stop, crash=crash),))
        rest = Steps()
        resumed = remedies.run(config, RunFolder.open(path), callbacks=(rest,), resume=True)
        assert (figures(resumed), resumed.cost) == (figures(whole), whole.cost)
        again = rest.seen - (counter.seen - stop)
        assert 0 <= again <= 4 if crash else again == 0  # at most an epoch
        ours = contents(path)
        assert ours[:2] == theirs[:2]
        assert all(torch.equal(value, theirs[2][name]) for name, value in ours[2].items())
    # a run that has ended is read, stage by stage
    rest = Steps()
    read = remedies.run(config, RunFolder.open(tmp_path / "whole"), callbacks=(rest,), resume=True)
    assert (figures(read), rest.seen) == (figures(whole), 0)


@pytest.mark.parametrize("remedy", ["early-stopping", "confident-learning"])
def test_a_run_needs_no_folder(remedy: str, digits: ImageConfig, tmp_path: Path) -> None:
    config = under(digits, remedy)
    kept = remedies.run(config, RunFolder.create(tmp_path / "kept", {}))
    assert figures(remedies.run(config)) == figures(kept)


def test_a_stop_in_the_last_step_of_a_stage_is_heard(digits: ImageConfig, tmp_path: Path) -> None:
    config = under(digits, "fine-tune")
    with pytest.raises(Interrupted, match="stopped after stage 'plain'"):
        remedies.run(config, RunFolder.create(tmp_path / "run", {}), callbacks=(Steps(6),))
    rest = Steps()
    resumed = remedies.run(config, RunFolder.open(tmp_path / "run"), callbacks=(rest,), resume=True)
    assert (figures(resumed), rest.seen) == (figures(remedies.run(config)), 2)


def test_stages_are_run_folders_of_plain_runs(digits: ImageConfig, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    outcome = remedies.run(under(digits, "fine-tune"), folder)
    stage = RunFolder.open(tmp_path / "run/stages/plain")
    about = stage.manifest()
    assert (about["stage"], about["config"]["remedy"], about["config"]["epochs"]) == ("plain", "none", 2)
    alone = RunFolder.create(tmp_path / "plain", {})
    run(digits, alone)
    plain, staged = (
        checkpoint.load(f.path / "checkpoint.pt", {}, part="none")["reweighter"]["student"]
        for f in (alone, stage)
    )
    assert all(torch.equal(plain[name], staged[name]) for name in plain)
    assert [row["step"] for row in folder.read_steps()] == [1, 2]
    # 6 plain steps, and 2 on the 20 trusted samples
    assert outcome.cost == pytest.approx(8 / 6, rel=1e-12)
    both = sum(
        torch.load(p, weights_only=True)["state"]["sums"][0]
        for p in (tmp_path / "run").rglob("checkpoint.pt")
    )
    assert outcome.figures["seconds"] == pytest.approx(both, rel=1e-12)


@pytest.mark.parametrize(
    ("remedy", "cost"),
    [
        ("meta-only", 1),
        ("with-meta", 4 / 3),
        ("early-stopping", None),
        ("glc", 1 + 4 / 3),
        ("co-teaching", 2),
        ("loss-filter", 1 + 1 / 3),
    ],
)
def test_the_cost_is_all_steps_in_those_of_a_plain_run(
    remedy: str, cost: float | None, digits: ImageConfig
) -> None:
    outcome = remedies.run(under(digits, remedy))
    assert outcome.cost == pytest.approx(1 if cost is None else cost, rel=1e-12)


def test_no_remedy_is_the_run_itself(digits: ImageConfig, tmp_path: Path) -> None:
    for name, through in (("plain", run), ("through", remedies.run)):
        through(digits, RunFolder.create(tmp_path / name, {}))
    ours, theirs = contents(tmp_path / "through"), contents(tmp_path / "plain")
    assert ours[:2] == theirs[:2]
    assert all(torch.equal(value, theirs[2][name]) for name, value in ours[2].items())


@pytest.mark.parametrize("remedy", one_in(2, [name for name in EVERY if name not in FOR_CLASSES]))
def test_remedies_of_sentence_pairs(remedy: str, colours: TranslationConfig, tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", {})
    outcome = remedies.run(under(colours, remedy), folder)
    weights = folder.read_weights()
    assert weights.weights.shape[1] == 100
    dropped = bool((weights.mean_weight() == 0).any())
    filters = remedy in ("length-ratio", "loss-filter")
    assert dropped == filters
    assert math.isnan(outcome.figures["auroc"]) != (filters or remedy.startswith("whole-run"))
    assert (folder.path / "hypothesis.txt").is_file()


def test_token_units_are_scored_by_sentence(colours: TranslationConfig) -> None:
    chosen = replace(colours, unit="token", smoothing=0.0)
    prepared = tasks["translation"].prepare(chosen)
    sentence = remedies.Course(replace(chosen, unit="sentence"), prepared)
    token = remedies.Course(chosen, prepared)
    own = sentence.pool.train
    by_sentence = sentence.losses(sentence.build().student, own)
    assert torch.allclose(token.losses(token.build().student, own), by_sentence, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "kind", "complaint"),
    [
        ({"remedy": "co-teachin"}, KeyError, "unknown remedy 'co-teachin'. Did you mean 'co-teaching'"),
        (
            {"remedy": "fine-tune", "remedy_options": {"epoch": 2}},
            TypeError,
            "remedy 'fine-tune' has no option 'epoch'. Did you mean 'epochs'",
        ),
        (
            {"remedy": "fine-tune", "remedy_options": {"epochs": 2.5}},
            TypeError,
            "option epochs of remedy 'fine-tune' is int, got 2.5",
        ),
        ({"remedy_options": {"epochs": 2}}, TypeError, "a run without a remedy has no option 'epochs'"),
        ({"remedy": "glc", "teacher": "mw-net"}, ValueError, "give teacher uniform beside it, not 'mw-net'"),
        ({"remedy": "glc", "loss": "gce"}, ValueError, "leave loss at cross-entropy, got 'gce'"),
        ({"remedy": "length-ratio"}, ValueError, "is for sentence pairs: task 'image' has none"),
        (
            {"remedy": "early-stopping", "valid_size": 0},
            ValueError,
            "chooses the epoch by the valid set, and this run has none",
        ),
        (
            {"remedy": "confident-learning", "remedy_options": {"folds": 1}},
            ValueError,
            "folds of confident-learning are 2 or more, got 1",
        ),
        (
            {"remedy": "confident-learning", "remedy_options": {"filter_by": "prune_by_noise"}},
            ValueError,
            "unknown 'prune_by_noise'. Did you mean 'prune_by_noise_rate'",
        ),
        (
            {"remedy": "confident-learning", "remedy_options": {"folds": 2000}},
            ValueError,
            "2000 folds of confident-learning for",
        ),
        ({"remedy": "gce"}, KeyError, "'gce' is a loss, not a remedy: choose it as the loss (--loss gce)"),
        ({"loss": "gcee"}, KeyError, "unknown loss 'gcee'. Did you mean 'gce'"),
        ({"loss": "gce", "loss_options": {"p": 1}}, TypeError, "loss 'gce' has no option 'p'"),
    ],
)
def test_mistakes_are_errors_before_anything_is_written(
    options: dict[str, Any],
    kind: type[Exception],
    complaint: str,
    digits: ImageConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = replace(digits, **options)
    with pytest.raises(kind) as raised:
        remedies.run(config)
    assert complaint in str(raised.value)
    words = [] if "teacher" in options else ["--teacher", "uniform"]
    for name, value in options.items():
        texts = spelt_options(value) if isinstance(value, dict) else [str(value)]
        words += [f"--{name.replace('_', '-')}", *texts]
    out = tmp_path / "run"
    assert main(["train", *words, "--out", str(out)]) == 2
    assert complaint.split(". ")[0] in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_the_truth_is_refused_where_it_is_not_known(colours: TranslationConfig) -> None:
    natural = replace(colours, noise="none")
    with pytest.raises(ValueError, match="it is not known which samples are wrong"):
        remedies.run(under(natural, "clean-and-meta"))
    with pytest.raises(ValueError, match=r'give --remedy-options "share=0\.2"'):
        remedies.run(under(natural, "loss-filter"))
    with pytest.raises(ValueError, match="samples with one class each, task 'translation' has none"):
        remedies.run(under(colours, "glc"))


@pytest.mark.slow
def test_a_grid_has_remedies_as_arms_and_goes_on(digits: ImageConfig, tmp_path: Path) -> None:
    arms = {
        "tuned": {"teacher": "uniform", "remedy": "fine-tune", "remedy_options": {"epochs": 1}},
        "gce": {"teacher": "uniform", "loss": "gce", "loss_options": {"q": 0.5}},
        "filtered": {"teacher": "uniform", "remedy": "loss-filter"},
    }
    grid = Grid(digits, ("uniform", *arms), ("uniform@0.4",), (0,), arms)
    results = compare(grid, tmp_path / "grid", jobs=1, console=Console(quiet=True))
    _, tuned, _, filtered = (result.result for result in results)
    assert tuned is not None
    assert filtered is not None
    assert tuned.figures["cost"] == pytest.approx(7 / 6)
    assert tuned.figures["auroc"] is None
    assert filtered.figures["auroc"] is not None
    # stopped in the last stage before its first checkpoint: the plain stage is taken up
    cell = tmp_path / "grid/cells/uniform-0.4.tuned.0"
    for name in ("result.json", "checkpoint.pt", "weights.npz"):
        (cell / name).unlink()
    kept = (cell / "stages/plain/steps.jsonl").stat().st_mtime_ns
    again = compare(grid, tmp_path / "grid", jobs=1, console=Console(quiet=True), resume=True)
    assert again[1].result is not None
    timed = {"seconds": tuned.figures["seconds"]}
    assert {**again[1].result.figures, **timed} == tuned.figures
    assert Counter(row["step"] for row in RunFolder.open(cell).read_steps()) == {1: 1}
    assert len(RunFolder.open(cell / "stages/plain").read_steps()) == 6
    assert kept


def test_a_misspelled_arm_stops_the_grid_before_it_begins(digits: ImageConfig, tmp_path: Path) -> None:
    for wrong, kind in (({"remedy": "gcl"}, KeyError), ({"loss": "gcee"}, KeyError)):
        grid = Grid(digits, ("arm",), ("none",), (0,), {"arm": {"teacher": "uniform", **wrong}})
        with pytest.raises(kind, match=r"Did you mean 'g(lc|ce)'"):
            compare(grid, tmp_path / "grid", jobs=1, console=Console(quiet=True))
        assert not (tmp_path / "grid").exists()


def test_the_list_names_every_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remedies"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("meta-only", "glc", "co-teaching"))
    assert "folds=3" in shown


def test_the_pace_is_that_of_the_stage_at_hand(digits: ImageConfig) -> None:
    pace, seen = Throughput(), []

    class Note(Callback):
        def on_end(self, run: Run) -> None:
            seen.append((pace.size, pace.rate * run.seconds))

    remedies.run(under(digits, "glc"), callbacks=(pace, Note()))
    # 3 batches of 20 in each of 2 epochs, then 4 with the trusted samples
    assert [size for size, _ in seen] == [120, 160]
    assert [targets for _, targets in seen] == pytest.approx([120, 160])
