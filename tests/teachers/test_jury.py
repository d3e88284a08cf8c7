"""``jury``: the weights that come of evidence, signals and what is learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from sklearn.datasets import load_digits
from slowly import slowly
from torch import nn

import metaweight as mw
from metaweight.core.weights import auroc
from metaweight.engines.reverse import Reverse
from metaweight.models import build_model, default_taps
from metaweight.teachers import build_teacher
from metaweight.teachers.calibration import Calibration
from metaweight.teachers.jury import SURE
from metaweight.teachers.witnesses import Witnesses
from metaweight.testing.states import class_spec, class_state
from metaweight.testing.target_states import target_spec

DOUBLE = torch.float64
CLASSES = 4


@pytest.mark.parametrize("joined", [False, True])
def test_first_weights_are_the_calibrated_odds_and_the_signals_at_mean_one(joined: bool):
    """Where trusted samples are trained on signals count as far as the odds are open, elsewhere in full."""
    spec = class_spec(dtype=DOUBLE, samples=60, meta_in_train=joined)
    jury = build_teacher("jury", spec, signal=1.5, decay=0.5)
    meta, state = class_state(50, seed=1, dtype=DOUBLE), class_state(12, seed=2, dtype=DOUBLE)
    state = replace(state, index=torch.arange(12))
    assert torch.equal(jury(state), torch.ones(12, dtype=DOUBLE))
    jury.observe(meta)
    two = Witnesses(spec, "jury", capacity=512).double()
    two.observe(meta)
    heard = two.heard(meta, others=True)
    own = two.about(meta, heard)
    tried = [two.about(replace(meta, targets=meta.targets.roll(n)), heard) for n in (1, 2, 3)]
    differs = [(meta.targets.roll(n) != meta.targets).double() for n in (1, 2, 3)]
    reference = Calibration(2).double()
    assert meta.targets.bincount().min() > 1  # no class has one trusted sample alone
    reference.put(own, torch.cat(tried), torch.cat([torch.ones(50, dtype=DOUBLE), *differs]), units=50)
    right = reference.right(own)
    of_class = torch.stack([right[meta.targets == label].mean() for label in meta.targets])
    torch.testing.assert_close(jury.meta_weights(meta.index), right / of_class, rtol=1e-9, atol=1e-12)
    assert jury.meta_weights(torch.tensor([999])).tolist() == [1.0]  # nothing is known of it yet
    other = replace(class_state(12, seed=3, dtype=DOUBLE), index=torch.arange(12))
    jury.track(other)
    slopes = torch.linspace(-1, 2, 12, dtype=DOUBLE)
    jury.take_hypergradient(torch.arange(12), slopes)
    share = 0.95 * 0.5 + 0.05 * reference.share(reference.log_odds(two(other)), torch.ones(12))
    odds = (reference.log_odds(two(state)) + share.logit()).clamp(-SURE, SURE)
    signal = -(slopes - slopes.mean()) / slopes.var(correction=0).sqrt()
    heard_of_it = 4 * odds.sigmoid() * (-odds).sigmoid() if joined else torch.ones_like(odds)
    weights = (odds + 1.5 * signal * heard_of_it).sigmoid()
    torch.testing.assert_close(jury(state), weights / weights.mean(), rtol=1e-9, atol=1e-12)
    netless = build_teacher("jury", spec, signal=1.5, decay=0.5, width=0)
    netless.load_state_dict({name: v for name, v in jury.state_dict().items() if "head" not in name})
    torch.testing.assert_close(netless(state), weights / weights.mean(), rtol=1e-9, atol=1e-12)
    bare = build_teacher("jury", replace(spec, samples=None))
    bare.observe(meta)
    bare.track(other)
    bare.take_hypergradient(torch.arange(12), slopes)
    weights = (reference.log_odds(two(state)) + share.logit()).clamp(-SURE, SURE).sigmoid()
    torch.testing.assert_close(bare(state), weights / weights.mean(), rtol=1e-9, atol=1e-12)


def test_signals_of_numbers_start_unheard():
    gains = {
        target: float(build_teacher("jury", target_spec(target, samples=9)).signal_gain.detach())
        for target in ("number", "soft", "several")
    }
    assert gains == {"number": 0, "soft": 2, "several": 2}
    heard = build_teacher("jury", target_spec("number", samples=9), signal=3.0)
    assert float(heard.signal_gain.detach()) == 3
    joined = build_teacher("jury", class_spec(samples=9, meta_in_train=True))
    assert float(joined.signal_gain.detach()) == 1


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


def run(rate: float, *, schedule: str = "lookahead", trusted_wrong: int = 10):
    """A jury that has learnt on 240 samples, a share of them wrong; its last weights, and which are wrong."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=g)
    right = x[:, :3].argmax(dim=1)
    wrong = torch.rand(300, generator=g) < rate
    given = torch.where(wrong, (right + 1) % 3, right)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))
    student = mw.Student(module, taps=("1",))
    train = [mw.Batch((x[at],), given[at], at) for at in torch.arange(240).split(40)]
    trusted = right[240:].clone()
    trusted[:trusted_wrong] = (trusted[:trusted_wrong] + 1) % 3
    meta = mw.Batch((x[240:],), trusted, torch.arange(60))
    teacher = build_teacher("jury", student.spec(train[0], samples=240))
    live = mw.Reweighter(
        student, teacher, optimizer=torch.optim.SGD(module.parameters(), lr=0.1), schedule=schedule
    )
    weights = torch.zeros(240)
    for _ in range(12):
        for one in train:
            weights[one.index] = live.step(one, meta).weights
    return teacher, weights, wrong[:240]


@pytest.mark.parametrize("schedule", ["lookahead", *slowly("online")])
def test_a_run_finds_the_wrong_labels_with_a_sixth_of_the_trusted_ones_wrong(schedule: str):
    teacher, weights, wrong = run(0.4, schedule=schedule)
    assert auroc(weights, wrong) > 0.89
    assert auroc(teacher.meta_weights(torch.arange(60)), torch.arange(60) < 10) > 0.85
    assert float(weights[wrong].mean()) < 0.5 < 1.2 < float(weights[~wrong].mean())


@pytest.mark.parametrize("rate", [0.4, *slowly(0.0, 0.2)])
def test_the_share_of_right_samples_is_estimated(rate: float):
    teacher, weights, wrong = run(rate, trusted_wrong=0)
    assert float(teacher.right) == pytest.approx(1 - float(wrong.float().mean()), abs=0.15)
    if rate == 0:
        assert float(weights.std()) < 0.3, weights.std()


def test_trusted_samples_that_are_trained_on_are_known():
    """They count nothing in the share of right training samples, and none of their labels moves."""
    meta = replace(class_state(30, seed=1, dtype=DOUBLE), index=torch.arange(100, 130))
    other = replace(class_state(12, seed=3, dtype=DOUBLE), index=torch.arange(12))
    first = replace(class_state(5, seed=1, dtype=DOUBLE), index=torch.arange(100, 105))

    def joined(*states):
        fields = ("outputs", "loss", "targets", "index")
        rows = {name: torch.cat([getattr(state, name) for state in states]) for name in fields}
        taps = {tap: torch.cat([state.features[tap] for state in states]) for tap in meta.features}
        return replace(other, **rows, features=taps)

    def seen(state, **spec):
        jury = build_teacher("jury", replace(class_spec(dtype=DOUBLE, samples=200), **spec))
        jury.observe(meta)
        jury.track(state)
        return jury

    alone, both = seen(other, meta_in_train=True), joined(other, first)
    with_trusted = seen(both, meta_in_train=True)
    torch.testing.assert_close(with_trusted.right, alone.right, rtol=1e-12, atol=0)
    assert not torch.isclose(seen(both).right, alone.right, rtol=1e-6)
    assert torch.equal(seen(first, meta_in_train=True).right, torch.tensor(0.5, dtype=DOUBLE))
    share = with_trusted.suggest(both).share
    assert torch.equal(share[12:], torch.zeros(5, dtype=DOUBLE))
    assert share[:12].min() > 0
    assert seen(both).suggest(both).share[12:].min() > 0


def test_what_it_cannot_do_is_said_when_it_is_built():
    with pytest.raises(ValueError, match="capacity=0"):
        build_teacher("jury", class_spec(), capacity=0)
    with pytest.raises(ValueError, match="decay lies in"):
        build_teacher("jury", class_spec(samples=9), decay=1.0)
    with pytest.raises(ValueError, match="teacher 'jury' reads"):
        build_teacher("jury", class_spec(target="other"))


@pytest.mark.slow
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


def test_suggestions_are_the_calibrated_odds_of_every_class():
    """By trying each class as if it were the given one."""
    jury = build_teacher("jury", class_spec(dtype=DOUBLE, samples=60))
    state = replace(class_state(12, seed=2, dtype=DOUBLE), index=torch.arange(12))
    assert torch.equal(jury.suggest(state).share, torch.zeros(12, dtype=DOUBLE))  # no trusted sample was seen
    for seed in (1, 4, 5):
        jury.observe(class_state(50, seed=seed, dtype=DOUBLE))
    jury.track(state)
    with torch.no_grad():
        jury.gain.fill_(3.0)  # parameters have no say
    right = torch.stack(
        [
            jury.log_odds(jury.witnesses(replace(state, targets=torch.full((12,), c)))).sigmoid()
            for c in range(CLASSES)
        ],
        dim=1,
    )
    said = jury.suggest(state)
    share = jury.right.logit()  # of right samples, which is one of given classes
    assert float(share.abs()) > 0.005
    apart = ((right / (1 - right)).log() - share).sigmoid()
    for i, given in enumerate(state.targets.tolist()):
        others = {c: float(apart[i, c]) for c in range(CLASSES) if c != given}
        best = int(said.labels[i])
        assert others[best] == max(others.values())
        assert float(said.share[i]) == pytest.approx((1 - float(right[i, given])) * others[best], rel=1e-12)


def test_the_second_best_of_a_certain_class_is_suggested():
    """Margins of all other classes lie beyond their bound there."""
    jury = build_teacher("jury", class_spec({}, dtype=DOUBLE))
    state = class_state(taps={}, dtype=DOUBLE)
    outputs = torch.tensor([[40.0, 1.0, 3.0, 2.0]], dtype=DOUBLE).expand(12, CLASSES)
    for seed in (1, 4, 5):
        jury.observe(class_state(50, seed=seed, taps={}, dtype=DOUBLE))
    said = jury.suggest(replace(state, outputs=outputs))
    assert said.labels.tolist() == [2 if given == 0 else 0 for given in state.targets.tolist()]


@pytest.mark.parametrize("target", ["soft", "several", "number"])
def test_of_other_targets_than_classes_it_suggests_none(target: str):
    jury = build_teacher("jury", target_spec(target))
    assert "only of one class a sample" in jury.silence
    with pytest.raises(NotImplementedError, match="only of one class a sample"):
        jury.suggest(class_state())
    assert build_teacher("jury", class_spec(tokens=True)).silence.startswith("of words")
