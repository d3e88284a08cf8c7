"""Certificates against closed forms of ridge regression, scipy's correlation and runs written out."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr, t
from torch import Tensor, nn
from whole_runs import SAMPLES, Rows, case, mlp

import metaweight as mw
from metaweight.influence import MismatchError, WholeRun, agreement
from metaweight.influence.agreement import bootstrap, gain_over, mean_correlation, rank_correlation
from metaweight.influence.certifying import random_set, worst_set
from metaweight.influence.retraining import Retraining
from metaweight.influence.targets import Mode, Targets
from metaweight.testing import ridge

ROWS, WIDTH = 400, 4
SHARE = 0.02


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Regression:
    """Rows, of which some have wrong targets, and what is asked of the optimum."""

    def __init__(self) -> None:
        truth = drawn(WIDTH, seed=0)
        self.x, self.a = drawn(ROWS, WIDTH, seed=1), drawn(30, WIDTH, seed=2)
        self.y, self.b = self.x @ truth + 0.3 * drawn(ROWS, seed=3), self.a @ truth
        self.y[:20] = -3 * self.y[:20]
        self.w = 0.2 + drawn(ROWS, seed=4).abs()  # a weight of 1 would hide a missing factor
        self.meta = mw.Batch((self.a,), self.b, torch.arange(30))

    def run(self) -> WholeRun:
        """All rows in each batch, to the optimum."""
        module = nn.Linear(WIDTH, 1, bias=False).double()
        with torch.no_grad():
            module.weight.zero_()
        student = mw.Student(module, ridge.squared)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.75, weight_decay=ridge.DECAY)
        source = Rows(mw.Batch((self.x,), self.y, torch.arange(ROWS)), ROWS)
        return WholeRun(student, source, optimizer, epochs=16, weights=self.w)

    def loss_without(self, left_out: Any) -> float:
        weights = self.w.clone()
        weights[torch.as_tensor(left_out)] = 0
        off = self.a @ ridge.optimum(self.x, self.y, weights) - self.b
        return float(off.square().mean() / 2)

    def slopes(self) -> Tensor:
        """Of the loss at the optimum by the weights, in closed form."""
        return ridge.slopes_of_the_optimum(self.x, self.y, self.a, self.b, self.w)


@pytest.fixture(scope="module")
def regression() -> Regression:
    return Regression()


@pytest.fixture(scope="module")
def certificate(regression: Regression) -> mw.Certificate:
    run = regression.run()
    scores: dict[str, Any] = {f"random {seed}": drawn(ROWS, seed=100 + seed) for seed in range(20)}
    scores["influence"] = run.influence(regression.meta)
    scores["turned"] = -scores["influence"].values
    scores["constant"] = torch.full((ROWS,), torch.nan)
    return run.certify(scores, regression.meta, share=SHARE, worst=(SHARE,))


def row(certificate: mw.Certificate, name: str) -> Any:
    return next(score for score in certificate.scores if score.name == name)


def test_the_influence_of_a_regression_predicts_every_subset(certificate: mw.Certificate) -> None:
    found = row(certificate, "influence")
    assert found.lds >= 0.999
    assert found.low >= 0.99
    assert row(certificate, "turned").lds == pytest.approx(-found.lds, abs=1e-12)


def test_correlations_are_those_of_the_closed_form(
    regression: Regression, certificate: mw.Certificate
) -> None:
    sets = [random_set(np.arange(ROWS), SHARE, 0, number) for number in range(60)]
    losses = [regression.loss_without(one) for one in sets]
    for name, scores in (("random 0", drawn(ROWS, seed=100)), ("influence", regression.slopes())):
        effect = regression.w * scores
        predicted = [-float(effect[torch.from_numpy(one)].sum()) for one in sets]
        expected = spearmanr(predicted, losses).statistic
        assert row(certificate, name).lds == pytest.approx(expected, abs=1e-12)
    assert certificate.spread == pytest.approx(np.std(losses, ddof=1), rel=1e-9)


@pytest.mark.parametrize(("share", "others"), [(0.05, 10), (SHARE, 12)])
def test_gains_are_those_of_the_closed_form(regression: Regression, share: float, others: int) -> None:
    run = regression.run()
    found = run.certify(regression.slopes(), regression.meta, subsets=12, share=SHARE, worst=(share,))
    (gain,) = found.scores[0].gains
    sets = [random_set(np.arange(ROWS), share, 0, number) for number in range(others)]
    random = np.array([regression.loss_without(one) for one in sets])
    worst = regression.slopes().argsort(descending=True)[: round(share * ROWS)]
    assert gain.gain == pytest.approx(random.mean() - regression.loss_without(worst), rel=1e-9)
    half = t.ppf(0.975, others - 1) * random.std(ddof=1) * (1 + 1 / others) ** 0.5
    assert (gain.low, gain.high) == pytest.approx((gain.gain - half, gain.gain + half), rel=1e-9)
    assert gain.low > 0


def test_random_scores_are_no_better_than_chance(certificate: mw.Certificate) -> None:
    rows = [row(certificate, f"random {seed}") for seed in range(20)]
    assert sum(one.low <= 0 <= one.high for one in rows) >= 18
    assert sum(gain.low <= 0 <= gain.high for one in rows for gain in one.gains) >= 18


def test_what_it_says(certificate: mw.Certificate, tmp_path: Path) -> None:
    said = certificate.sentences()
    assert any(line.startswith("influence predicts what the loss is without a random 2 %") for line in said)
    assert any(line.startswith("turned predicts") and "the wrong way round" in line for line in said)
    assert any(line.startswith("random 0 is no better than chance at predicting") for line in said)
    assert any(line.startswith("Of constant nothing can be said") for line in said)
    assert any("Without the worst 2 % by influence the loss is" in line and "lower" in line for line in said)
    assert row(certificate, "constant").lds is None
    lines = str(certificate).splitlines()
    assert len(lines) == len(certificate.scores) + 2
    assert lines[0].endswith("  gain, worst 2 %")
    certificate.save(tmp_path / "verify.json")
    assert mw.Certificate.load(tmp_path / "verify.json") == certificate
    (tmp_path / "verify.json").write_text('{"format": 1}')
    with pytest.raises(ValueError, match="damaged"):
        mw.Certificate.load(tmp_path / "verify.json")


def test_spearman_by_hand() -> None:
    """1 - 6 sum d^2 / (n (n^2 - 1)) with d = 0, 1, 1, 0; with a tie 4.5 / sqrt(4.5 * 5)."""
    a, tied = np.array([10.0, 20.0, 30.0, 40.0]), np.array([1.0, 2.0, 2.0, 3.0])
    b = np.array([1.0, 3.0, 2.0, 4.0])
    assert rank_correlation(a, b) == pytest.approx(0.8)
    assert rank_correlation(tied, a) == pytest.approx(0.9**0.5)
    both = np.stack([a, a, np.ones(4)])
    assert mean_correlation(both, np.stack([b, -a, a])) == pytest.approx((0.8 - 1) / 2)
    assert mean_correlation(both[2:], b[None]) is None
    assert bootstrap(both[2:], b[None], seed=0) is None


def test_sums_that_differ_by_rounding_are_ties() -> None:
    a = np.array([0.1 + 0.2, 0.3, 1.0])
    assert rank_correlation(a, np.array([1.0, 2.0, 3.0])) == pytest.approx(0.75**0.5)


def test_the_interval_is_that_of_scipy_over_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "RESAMPLES", 200)
    a, b = np.random.default_rng(1).normal(size=(2, 1, 12))
    picks = np.random.default_rng(3).integers(0, 12, size=(200, 12))
    found = [spearmanr(a[0, one], b[0, one]).statistic for one in picks]
    assert bootstrap(a, b, seed=3) == pytest.approx(tuple(np.quantile(found, (0.025, 0.975))), abs=1e-12)


def test_one_of_the_random_sets_gains_nothing_in_19_of_20_cases() -> None:
    values = np.random.default_rng(0).normal(size=(4000, 11))
    ends = [gain_over(one[1:], float(one[0]))[1:] for one in values]
    assert sum(low <= 0 <= high for low, high in ends) / 4000 == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("student", ["batchnorm-resnet", "words-dropout"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_retraining_is_the_run_written_out(student: str, mode: Mode) -> None:
    built = case(student, optimizer="adam", epochs=5)
    run = built.recorded()
    run.record()
    weights = drawn(SAMPLES, seed=5).abs()
    targets = Targets.of(built.meta, each=False, device=run.student.device)
    steps, start = run.recording.steps, run.recording.store.get(0)
    retraining = Retraining(run.student, run.optimizer, steps, start, targets, mode)
    for given in (weights, torch.ones(SAMPLES, dtype=torch.float64)):
        retraining.end(given)
        there = built.written_out(given).state_dict()
        assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
    assert retraining.losses(weights)[0] == pytest.approx(built.loss_at_the_end(weights, mode), rel=1e-12)


def test_the_losses_are_those_whose_slopes_are_taken() -> None:
    built = case("batchnorm-resnet", epochs=2)
    run = built.recorded()
    run.record()
    end = run.recording.end()
    halves = [built.meta.rows(torch.arange(2)), built.meta.rows(torch.arange(2, 5))]
    for meta, each in ((built.meta, False), (built.meta, True), (halves, False)):
        targets = Targets.of(meta, each=each, device=run.student.device)
        said = [one.loss for one in targets.said(run.student, end, "eval")]
        run.recording.store.get(0).put_pass(run.student)  # it is to be put where it ended
        assert targets.losses(run.student, end, "eval") == pytest.approx(said, rel=1e-12)
        assert len(targets) == len(said)


def test_each_row_has_a_score_of_its_own_and_the_student_stands_at_the_end() -> None:
    built = mlp(epochs=4)
    run = built.recorded()
    found = run.influence(built.meta, each=True)
    module = {name: value.clone() for name, value in run.student.module.state_dict().items()}
    certificate = run.certify(found, built.meta, each=True, subsets=12, worst=())
    assert (certificate.targets, certificate.samples) == (5, SAMPLES)
    assert certificate.loss == pytest.approx(float(found.losses.mean()), rel=1e-12)
    assert certificate.scores[0].lds is not None
    assert certificate.scores[0].lds > 0.9
    assert all(torch.equal(v, module[name]) for name, v in run.student.module.state_dict().items())


def test_only_samples_that_batches_had_are_left_out() -> None:
    built = mlp(epochs=1)
    run = replace(built, source=Rows(built.source.whole, 10)).recorded()
    unseen = run.influence(built.meta).values.isnan()
    certificate = run.certify(drawn(SAMPLES, seed=1), built.meta, subsets=3, worst=())
    assert certificate.samples == SAMPLES - int(unseen.sum())
    seen = (~unseen).nonzero().flatten().numpy()
    assert set(worst_set(unseen.double().numpy(), seen, 0.5, 0)) <= set(seen)


class KilledError(Exception):
    """The process is."""


def test_a_killed_certificate_goes_on(tmp_path: Path) -> None:
    built = mlp(epochs=3)
    options: dict[str, Any] = {"subsets": 6, "worst": (0.1,)}
    expected = built.recorded().certify(drawn(SAMPLES, seed=1), built.meta, **options)
    told: list[int] = []

    def until_4(done: int, of: int) -> None:
        told.append(done)
        if done == 4:
            raise KilledError

    run = built.recorded(folder=tmp_path)
    with pytest.raises(KilledError):
        run.certify(drawn(SAMPLES, seed=1), built.meta, **options, tell=until_4)
    again = built.recorded(folder=tmp_path)
    assert again.certify(drawn(SAMPLES, seed=1), built.meta, **options, tell=until_4) == expected
    assert told == [1, 2, 3, 4, *range(5, told[-1] + 1)]
    told.clear()
    other = again.certify({"other": drawn(SAMPLES, seed=2)}, built.meta, **options, tell=until_4)
    assert len(told) == 1  # only what that score calls worst
    assert other.spread == expected.spread
    (rows,) = tmp_path.glob("verify-*/retrainings.jsonl")
    assert len(rows.read_text().splitlines()) == told[-1] + 1


@pytest.mark.slow
def test_two_processes_are_one() -> None:
    built = mlp(epochs=2)
    run = built.recorded()
    one, two = (run.certify(drawn(SAMPLES, seed=1), built.meta, subsets=4, jobs=jobs) for jobs in (1, 2))
    assert one == two


def test_what_cannot_be_sent_to_processes_is_said() -> None:
    built = mlp(epochs=1, loss=lambda outputs, targets: outputs.square().sum(1))
    with pytest.raises(ValueError, match="jobs=1"):
        built.recorded().certify(drawn(SAMPLES, seed=1), built.meta, subsets=4, jobs=2)


class Shaken(nn.Module):
    """Draws where nobody can put the draws back."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-3 * random.random()


def test_noise_of_a_run_that_cannot_be_taken_again() -> None:
    shaken = mlp(epochs=2)

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3), Shaken(), nn.Tanh())

    run = replace(shaken, build=build).recorded(on_difference="recorded")
    certificate = run.certify(drawn(SAMPLES, seed=1), shaken.meta, subsets=4, worst=())
    assert certificate.noise is not None
    assert 0 < certificate.noise < 1e-2
    assert "cannot be taken again" in certificate.sentences()[-1]


def test_a_run_that_is_another_one_is_not_certified() -> None:
    built = mlp(epochs=3)
    run = built.recorded()
    run.record()
    built.source.whole.args[0].add_(1)
    with pytest.raises(MismatchError, match="the inputs changed"):
        run.certify(drawn(SAMPLES, seed=1), built.meta, subsets=4)


@pytest.mark.parametrize(
    ("score", "options", "match"),
    [
        (torch.zeros(SAMPLES - 1), {}, "scores of 24 samples"),
        (torch.zeros(2, SAMPLES), {}, "scores of 24 samples for 1 targets"),
        (torch.full((SAMPLES,), torch.inf), {}, "not finite"),
        ({}, {}, "no score"),
        (torch.zeros(SAMPLES), {"subsets": 2}, "3 subsets"),
        (torch.zeros(SAMPLES), {"share": 1.0}, "share"),
        (torch.zeros(SAMPLES), {"worst": (0.0,)}, "share"),
        (torch.zeros(SAMPLES), {"jobs": 0}, "jobs"),
        (torch.zeros(SAMPLES), {"mode": "test"}, "mode"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_trained(
    score: Any, options: dict[str, Any], match: str
) -> None:
    built = mlp(epochs=1)
    run = built.recorded()
    with pytest.raises(ValueError, match=match):
        run.certify(score, built.meta, **options)
    assert not run.recording.whole
