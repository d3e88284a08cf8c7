"""``jury``: what witnesses say, what that is worth on trusted samples, and the weights that come of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import nn

import metaweight as mw
from metaweight.core.contracts import StateSpec
from metaweight.core.weights import auroc
from metaweight.engines.reverse import Reverse
from metaweight.models import build_model, default_taps
from metaweight.teachers import build_teacher
from metaweight.teachers.calibration import RIGHT, SLOPE, Calibration
from metaweight.teachers.jury import SURE
from metaweight.teachers.numbers import CLIP
from metaweight.teachers.sample_means import SampleMeans
from metaweight.teachers.witnesses import FAR, TEMPERATURE, Witnesses, margins
from metaweight.testing.states import class_spec, class_state, sentence_spec, sentence_state
from metaweight.testing.target_states import target_spec, target_state

DOUBLE = torch.float64
CLASSES = 4


def witnesses(spec: StateSpec) -> Witnesses:
    return Witnesses(spec, "jury", capacity=512).double()


def attention_of(states: np.ndarray, trusted: np.ndarray) -> np.ndarray:
    centre = trusted.mean(axis=0)
    own, held = states - centre, trusted - centre
    cosine = (own @ held.T) / np.linalg.norm(own, axis=1)[:, None] / np.linalg.norm(held, axis=1)
    near = np.exp(TEMPERATURE * cosine)
    return near / near.sum(axis=1, keepdims=True)


def ones(number: int) -> torch.Tensor:
    return torch.ones(number, dtype=DOUBLE)


def margin(log_p: np.ndarray, label: int) -> float:
    return float(np.clip(log_p[label] - np.delete(log_p, label).max(), -FAR, FAR))


def test_a_margin_is_to_the_best_other_class_ties_and_all():
    log_p = torch.tensor([[0.1, 0.7, 0.2], [0.4, 0.2, 0.4]], dtype=DOUBLE).log()
    expected = [[math.log(1 / 7), math.log(7 / 2), math.log(2 / 7)], [0.0, -math.log(2), 0.0]]
    torch.testing.assert_close(margins(log_p), torch.tensor(expected, dtype=DOUBLE), rtol=1e-12, atol=1e-15)


def test_witnesses_of_a_class_are_the_margins_of_outputs_and_of_trusted_samples_that_are_like_it():
    two = witnesses(class_spec(dtype=DOUBLE))
    meta, state = class_state(30, seed=1, dtype=DOUBLE), class_state(9, dtype=DOUBLE)
    assert torch.equal(two(state)[:, 1], torch.zeros(9, dtype=DOUBLE))  # nothing was observed
    two.observe(meta)
    attention = attention_of(state.features["deep"].numpy(), meta.features["deep"].numpy())
    shares = attention @ np.eye(CLASSES)[meta.targets.numpy()]
    logits = state.outputs.numpy()
    for i, label in enumerate(state.targets.tolist()):
        said = margin(logits[i], label), margin(np.log(np.maximum(shares[i], math.exp(-FAR))), label)
        assert two(state)[i].tolist() == pytest.approx(said, rel=1e-9, abs=1e-12)


def test_a_trusted_sample_is_no_witness_of_itself():
    two = witnesses(class_spec(dtype=DOUBLE))
    meta = class_state(30, seed=1, dtype=DOUBLE)
    two.observe(meta)
    states, labels = meta.features["deep"].numpy(), meta.targets.numpy()
    centre = states.mean(axis=0)  # the others', and its own: the mean is that of all that are held
    attention = attention_of(states, states)
    assert np.allclose((states - centre).mean(axis=0), 0)
    np.fill_diagonal(attention, 0)
    shares = attention / attention.sum(axis=1, keepdims=True) @ np.eye(CLASSES)[labels]
    expected = [margin(np.log(np.maximum(shares[i], math.exp(-FAR))), labels[i]) for i in range(30)]
    np.testing.assert_allclose(two(meta, others=True)[:, 1].numpy(), expected, rtol=1e-9, atol=1e-12)


def test_soft_labels_and_answers_are_heard_as_the_classes_that_they_are():
    four, same = witnesses(class_spec(dtype=DOUBLE)), witnesses(target_spec("soft", outputs=4, dtype=DOUBLE))
    meta, state = class_state(30, seed=1, dtype=DOUBLE), class_state(9, dtype=DOUBLE)

    def soft(one):
        return replace(one, targets=nn.functional.one_hot(one.targets, CLASSES).double())

    four.observe(meta)
    same.observe(soft(meta))
    torch.testing.assert_close(same(soft(state)), four(state), rtol=1e-12, atol=1e-12)
    two = witnesses(class_spec(classes=2, dtype=DOUBLE))
    one = witnesses(target_spec("several", outputs=1, dtype=DOUBLE))
    meta, state = (class_state(n, seed=n, classes=2, dtype=DOUBLE) for n in (30, 9))

    def answered(given):
        return replace(
            given,
            outputs=given.outputs[:, 1:] - given.outputs[:, :1],
            targets=given.targets.double()[:, None],
        )

    two.observe(meta)
    one.observe(answered(meta))
    torch.testing.assert_close(one(answered(state)), two(state), rtol=1e-9, atol=1e-12)


def test_without_taps_the_outputs_speak_alone_and_of_numbers_the_residuals():
    alone = witnesses(class_spec({}, dtype=DOUBLE))
    state = class_state(9, taps={}, dtype=DOUBLE)
    alone.observe(state)
    expected = [margin(row, label) for row, label in zip(state.outputs.numpy(), state.targets, strict=True)]
    assert alone(state).squeeze(1).tolist() == pytest.approx(expected)
    numbers = witnesses(target_spec("number", dtype=DOUBLE))
    state = target_state("number", 40, dtype=DOUBLE)
    state = replace(state, outputs=state.targets + 0.1 * state.outputs)  # a student that knows
    numbers.observe(state)
    assert numbers(state).shape == (40, 1)
    shuffled = replace(state, targets=state.targets.roll(1, dims=0))
    assert float(numbers(shuffled).mean()) < 0 < 1 < float(numbers(state).mean())
    pairs = witnesses(sentence_spec(dtype=DOUBLE))
    pairs.observe(sentence_state(30, seed=1, dtype=DOUBLE))
    assert pairs(sentence_state(5, dtype=DOUBLE)).shape == (5, 2)
    assert float(pairs(sentence_state(5, dtype=DOUBLE)).abs().max()) <= CLIP


def fisher(own, others, weights, least: float = 0.1):
    """Slope [K] and threshold of Fisher's discriminant, the own side by ``weights``: numpy's moments."""
    means = np.average(own, axis=0, weights=weights), others.mean(axis=0)
    spreads = np.cov(own.T, aweights=weights, bias=True), np.cov(others.T, bias=True)
    covariance = (spreads[0] + spreads[1]) / 2 + least * np.eye(own.shape[1])
    return np.linalg.solve(np.atleast_2d(covariance), means[0] - means[1]), (means[0] + means[1]) / 2


def test_log_odds_of_one_batch_are_those_of_fishers_discriminant():
    g = np.random.default_rng(0)
    own, others = g.normal([2, 0.5], [1, 2], (200, 2)), g.normal([-1, 0], [1, 2], (200, 2))
    calibration, fresh = Calibration(2).double(), g.normal(size=(50, 2))
    given = [torch.from_numpy(values) for values in (own, others, fresh)]
    before = SLOPE * (own.sum(axis=1))
    torch.testing.assert_close(calibration.log_odds(given[0]), torch.from_numpy(before), rtol=1e-12, atol=0)
    calibration.put(given[0], given[1], ones(400), units=10**14)
    slope, middle = fisher(own, others, 1 / (1 + np.exp(-before) * (1 - RIGHT) / RIGHT))
    odds = calibration.log_odds(given[2]).numpy()
    np.testing.assert_allclose(odds, (fresh - middle) @ slope, rtol=1e-9)
    plain = LinearDiscriminantAnalysis(solver="lsqr", priors=[0.5, 0.5]).fit(
        np.concatenate([own, others]), np.repeat([1, 0], 200)
    )
    assert np.abs(odds - plain.decision_function(fresh)).max() < 0.5  # few of these are taken for wrong


def test_few_trusted_units_prove_little_and_no_evidence_speaks_for_the_contrary():
    g = np.random.default_rng(0)
    own, others = g.normal(1, 1, (30, 1)), g.normal(-1, 1, (30, 1))
    fresh = torch.linspace(-3, 3, 7, dtype=DOUBLE)[:, None]
    slope, middle = fisher(own, others, 1 / (1 + np.exp(-SLOPE * own[:, 0]) / 9))
    for units, known in ((0, 0.0), (20, 0.5), (180, 0.9)):
        calibration = Calibration(1).double()
        calibration.put(torch.from_numpy(own), torch.from_numpy(others), ones(60), units=units)
        expected = (fresh[:, 0] - known * middle[0]) * (known * slope[0] + (1 - known) * SLOPE)
        torch.testing.assert_close(calibration.log_odds(fresh), expected, rtol=1e-9, atol=1e-12)
    contrary = Calibration(1).double()
    contrary.put(torch.from_numpy(others), torch.from_numpy(own), ones(60), units=10**14)
    assert float(contrary.log_odds(fresh).abs().max()) < 1e-9


def test_trusted_units_that_look_wrong_count_little():
    """A fifth of them: what is believed hardly changes."""
    g = torch.Generator().manual_seed(0)
    odds = []
    for wrong in (0, 20):
        calibration = Calibration(1).double()
        for _ in range(40):
            own, others = (torch.randn(100, 1, generator=g, dtype=DOUBLE) + shift for shift in (3, -3))
            own[:wrong] -= 6
            calibration.put(own, others, ones(200), units=100)
        odds.append(float(calibration.log_odds(torch.tensor([[3.0]], dtype=DOUBLE))))
    assert 0.8 < odds[1] / odds[0] < 1.2


def test_batches_count_less_with_age_and_targets_that_are_equal_not_at_all():
    g = torch.Generator().manual_seed(0)
    first, second, wrong = (torch.randn(40, 1, generator=g, dtype=DOUBLE) + shift for shift in (3, 1, -2))
    counts = torch.cat([torch.ones(25), torch.zeros(15)]).double()
    calibration = Calibration(1, decay=0.5, least=0.25).double()
    others = torch.full((40, 1), 1e6, dtype=DOUBLE).where(counts[:, None] == 0, wrong)
    odds = []
    for own in (first, second):
        odds.append(calibration.log_odds(own))
        calibration.put(own, others, torch.cat([ones(40), counts]), units=10**14)
    shares = [(each + math.log(9)).sigmoid() / (each + math.log(9)).sigmoid().sum() for each in odds]
    means = [(share * own[:, 0]).sum() for share, own in zip(shares, (first, second), strict=True)]
    centres = [means[0], (0.5 * means[0] + means[1]) / 1.5]
    bad = wrong[:25]
    spreads = [
        ((share * (own[:, 0] - centre).square()).sum() + (bad - bad.mean()).square().mean()) / 2
        for share, own, centre in zip(shares, (first, second), centres, strict=True)
    ]
    variance = (0.5 * spreads[0] + spreads[1]) / 1.5 + 0.25
    middle = (centres[1] + bad.mean()) / 2
    expected = (second[:, 0] - middle) * (centres[1] - bad.mean()) / variance
    torch.testing.assert_close(calibration.log_odds(second), expected, rtol=1e-9, atol=1e-12)
    for nothing in (torch.cat([ones(40), 0 * ones(40)]), torch.cat([0 * ones(40), ones(40)])):
        calibration.put(first, wrong, nothing, units=3)
        torch.testing.assert_close(calibration.log_odds(second), expected, rtol=1e-9, atol=1e-12)


def test_a_mean_over_visits_is_plain_then_exponential_and_knows_what_it_would_be():
    means = SampleMeans(6, decay=0.5, shape=(2,)).double()
    index, g = torch.tensor([4, 1]), torch.Generator().manual_seed(0)
    visits = torch.randn(3, 2, 2, generator=g, dtype=DOUBLE)
    expected = [visits[0], visits[:2].mean(dim=0), visits[:2].mean(dim=0) / 2 + visits[2] / 2]
    for visit, mean in zip(visits, expected, strict=True):
        torch.testing.assert_close(means.with_now(index, visit), mean, rtol=1e-14, atol=1e-15)
        means.put(index, visit)
        torch.testing.assert_close(means.of(index)[0], mean, rtol=1e-14, atol=1e-15)
    assert means.of(torch.tensor([0]))[0].tolist() == [[0, 0]]


def test_first_weights_are_the_calibrated_odds_and_the_signals_at_mean_one():
    spec = class_spec(dtype=DOUBLE, samples=60)
    jury = build_teacher("jury", spec, signal=1.5, decay=0.5)
    meta, state = class_state(50, seed=1, dtype=DOUBLE), class_state(12, seed=2, dtype=DOUBLE)
    state = replace(state, index=torch.arange(12))
    assert torch.equal(jury(state), torch.ones(12, dtype=DOUBLE))
    jury.observe(meta)
    two = witnesses(spec)
    two.observe(meta)
    own = two(meta, others=True)
    tried = [two(replace(meta, targets=meta.targets.roll(n)), others=True) for n in (1, 2, 3)]
    differs = [(meta.targets.roll(n) != meta.targets).double() for n in (1, 2, 3)]
    reference = Calibration(2).double()
    assert meta.targets.bincount().min() > 1  # no class has one trusted sample alone
    reference.put(own, torch.cat(tried), torch.cat([ones(50), *differs]), units=50)
    other = replace(class_state(12, seed=3, dtype=DOUBLE), index=torch.arange(12))
    jury.track(other)
    slopes = torch.linspace(-1, 2, 12, dtype=DOUBLE)
    jury.take_hypergradient(torch.arange(12), slopes)
    odds = reference.log_odds((two(other) + two(state)) / 2).clamp(-SURE, SURE)
    signal = -(slopes - slopes.mean()) / slopes.var(correction=0).sqrt()
    weights = (odds + 1.5 * signal * 4 * odds.sigmoid() * (-odds).sigmoid()).sigmoid()
    torch.testing.assert_close(jury(state), weights / weights.mean(), rtol=1e-9, atol=1e-12)
    bare = build_teacher("jury", replace(spec, samples=None))
    bare.observe(meta)
    bare.track(other)
    bare.take_hypergradient(torch.arange(12), slopes)
    weights = reference.log_odds(two(state)).clamp(-SURE, SURE).sigmoid()
    torch.testing.assert_close(bare(state), weights / weights.mean(), rtol=1e-9, atol=1e-12)


def test_signals_of_numbers_start_unheard():
    gains = {
        target: float(build_teacher("jury", target_spec(target, samples=9)).signal_gain.detach())
        for target in ("number", "soft", "several")
    }
    assert gains == {"number": 0, "soft": 2, "several": 2}
    heard = build_teacher("jury", target_spec("number", samples=9), signal=1.0)
    assert float(heard.signal_gain.detach()) == 1


def test_evidence_that_proves_nothing_of_trusted_samples_moves_no_weight():
    """Labels that hidden states and outputs know nothing of."""
    jury = build_teacher("jury", class_spec(dtype=DOUBLE))
    g = torch.Generator().manual_seed(0)
    for seed in range(60):
        meta = class_state(100, seed=seed, dtype=DOUBLE)
        jury.observe(replace(meta, targets=torch.randint(CLASSES, (100,), generator=g)))
    state = class_state(200, seed=99, dtype=DOUBLE)
    said = jury.witnesses(state)
    assert float(said.std(dim=0).min()) > 0.5
    assert float(jury.log_odds(said).abs().max()) < 0.6


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_a_run_finds_the_wrong_labels(schedule: str):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=g)
    right = x[:, :3].argmax(dim=1)
    wrong = torch.rand(300, generator=g) < 0.4
    given = torch.where(wrong, (right + 1) % 3, right)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    student = mw.Student(module, taps=("1",))
    train = [mw.Batch((x[at],), given[at], at) for at in torch.arange(240).split(40)]
    meta = mw.Batch((x[240:],), right[240:], torch.arange(60))
    teacher = build_teacher("jury", student.spec(train[0], samples=240))
    live = mw.Reweighter(
        student, teacher, optimizer=torch.optim.SGD(module.parameters(), lr=0.1), schedule=schedule
    )
    weights = torch.zeros(240)
    for _ in range(12):
        for one in train:
            weights[one.index] = live.step(one, meta).weights
    assert auroc(weights, wrong[:240]) > 0.9
    assert float(weights[wrong[:240]].mean()) < 0.5 < 1.2 < float(weights[~wrong[:240]].mean())


def test_what_it_cannot_do_is_said_when_it_is_built():
    with pytest.raises(ValueError, match="capacity=0"):
        build_teacher("jury", class_spec(), capacity=0)
    with pytest.raises(ValueError, match="decay lies in"):
        build_teacher("jury", class_spec(samples=9), decay=1.0)
    with pytest.raises(ValueError, match="teacher 'jury' reads"):
        build_teacher("jury", class_spec(target="other"))


def test_windows_through_states_are_no_contradiction_for_a_jury_of_few_digits() -> None:
    """Answers are held against runs in float64: with the rounding of the jury these would say nothing."""
    torch.manual_seed(1)
    digits = load_digits()
    x, y = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
    order = torch.randperm(len(y))
    x, y = x[order], y[order].clone()
    flipped = torch.rand(300) < 0.4
    y[:300][flipped] = torch.randint(10, (int(flipped.sum()),))
    module = build_model("convnet", classes=10, channels=1, size=8)
    student = mw.Student(module, taps=default_taps("convnet"))
    train = [mw.Batch((x[at],), y[at], at) for at in torch.arange(300).split(50)]
    meta = mw.Batch((x[300:400],), y[300:400], torch.arange(100))
    live = mw.Reweighter(
        student,
        build_teacher("jury", student.spec(train[0], samples=300)),
        optimizer=torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9),
        engine=Reverse("snapshots", through_state=True),
        schedule="online",
        unroll=4,
    )
    for _ in range(2):
        assert float(live.step(train[:4], meta).meta_loss) > 0
        live.step(train[2:], meta)
