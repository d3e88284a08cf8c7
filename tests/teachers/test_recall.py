"""``recall``: what is remembered of each sample, and what is made of it."""

from __future__ import annotations

import copy

import pytest
import torch
from students import batch
from torch import nn

import metaweight as mw
from metaweight.teachers import build_teacher
from metaweight.teachers.sample_signals import CLIP, SampleSignals

DOUBLE = torch.float64


def test_a_signal_is_minus_the_standardised_hypergradient_and_its_mean_is_plain_then_exponential():
    signals = SampleSignals(10, decay=0.5).double()
    visits = [torch.tensor([1.0, -2.0, 4.0]), torch.tensor([0.5, 0.0, 3.0]), torch.tensor([-1.0, 2.0, 2.0])]
    index = torch.tensor([7, 2, 4])
    standard = []
    for slopes in (visit.double() for visit in visits):
        signals.put(index, slopes)
        standard.append(-(slopes - slopes.mean()) / slopes.var(correction=0).sqrt())
    plain = (standard[0] + standard[1]) / 2
    expected = 0.5 * plain + 0.5 * standard[2]
    mean, known = signals.of(index)
    torch.testing.assert_close(mean, expected, rtol=1e-14, atol=1e-15)
    assert known.tolist() == [1, 1, 1]
    assert signals.visits.tolist() == [0, 0, 3, 0, 3, 0, 0, 3, 0, 0]
    assert signals.mean[[0, 1, 3]].tolist() == [0, 0, 0]


def test_without_decay_the_last_visit_counts_alone():
    signals = SampleSignals(5, decay=0.0).double()
    index = torch.tensor([3, 1])
    assert signals.of(index)[1].tolist() == [0, 0]
    for slopes in ([2.0, 1.0], [-3.0, 5.0]):
        signals.put(index, torch.tensor(slopes, dtype=DOUBLE))
    assert [part.tolist() for part in signals.of(index)] == [[1, -1], [1, 1]]


def test_a_wild_step_is_clipped_a_flat_one_says_nothing_and_tokens_count_as_their_mean():
    signals = SampleSignals(40, decay=0.9).double()
    slopes = torch.zeros(30, dtype=DOUBLE)
    slopes[3] = -1e9
    signals.put(torch.arange(30), slopes)
    assert float(signals.mean[3]) == CLIP
    signals.put(torch.tensor([35, 36]), torch.tensor([2.0, 2.0], dtype=DOUBLE))
    assert signals.mean[35:37].tolist() == [0, 0]
    tokens = torch.tensor([1.0, 2.0, 6.0], dtype=DOUBLE)
    signals.put(torch.tensor([38, 39, 38]), tokens)
    standard = -(tokens - 3) / (14 / 3) ** 0.5
    torch.testing.assert_close(signals.mean[38], (standard[0] + standard[2]) / 2, rtol=1e-14, atol=0)
    torch.testing.assert_close(signals.mean[39], standard[1], rtol=1e-14, atol=0)
    assert signals.visits[38:].tolist() == [1, 1]


def test_a_first_weight_is_that_of_the_signal_alone(make_spec, make_state):
    teacher, state = build_teacher("recall", make_spec(dtype=DOUBLE), gain=2.0), make_state(6, dtype=DOUBLE)
    slopes = torch.tensor([0.3, -1.0, 2.0, 0.1, 0.0, -0.7], dtype=DOUBLE)
    teacher.take_hypergradient(state.index, slopes)
    signal = -(slopes - slopes.mean()) / slopes.var(correction=0).sqrt()
    torch.testing.assert_close(teacher(state), 2 * (2 * signal).sigmoid(), rtol=1e-14, atol=0)


def test_the_reweighter_passes_on_the_engines_own_hypergradient_of_each_batch():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    student = mw.Student(module)
    train, meta = batch((1, 4, 4), 6, 1), batch((1, 4, 4), 5, 2)
    teacher = build_teacher("recall", student.spec(train, samples=1000))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    ones = torch.ones(6, dtype=DOUBLE, requires_grad=True)
    slopes = mw.hypergradient(student, optimizer, train, meta, lambda _state: ones, [ones], "higher").grads[0]
    expected = SampleSignals(1000, decay=0.0).double()
    expected.put(train.index, slopes)
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=optimizer,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=1e-3),
        engine="forward",
    )
    reweighter.step(train, meta)
    torch.testing.assert_close(teacher.signals.mean, expected.mean, rtol=1e-9, atol=1e-12)
    assert int(teacher.signals.visits.sum()) == 6
    before = copy.deepcopy(teacher.state_dict())
    reweighter.step(train, teach=False)
    assert torch.equal(teacher.signals.mean, before["signals.mean"])


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_lookahead_weighs_by_the_signal_of_the_step_at_hand_and_online_by_the_one_before(schedule):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    student, train = mw.Student(module), batch((1, 4, 4), 6, 1)
    teacher = build_teacher("recall", student.spec(train, samples=1000), gain=2.0)
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=2.0),
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.0),
        engine="higher",
        schedule=schedule,
    )
    reweighter.step(train, batch((1, 4, 4), 5, 2))
    earlier = teacher.signals.mean[train.index].clone()
    weights = reweighter.step(train, batch((1, 4, 4), 5, 3)).weights
    now = teacher.signals.mean[train.index]
    assert float((now - earlier).abs().max()) > 0.1
    signal = now if schedule == "lookahead" else earlier
    torch.testing.assert_close(weights, 2 * (2 * signal).sigmoid(), rtol=1e-12, atol=0)


def test_samples_have_to_be_known_and_enough(make_spec, make_state):
    with pytest.raises(ValueError, match=r"student.spec\(batch, samples=N\)"):
        build_teacher("recall", make_spec(samples=None))
    teacher = build_teacher("recall", make_spec(samples=5))
    with pytest.raises(ValueError, match="sample 11 lies beyond the 5 samples"):
        teacher(make_state(12))
    with pytest.raises(ValueError, match="decay lies in"):
        build_teacher("recall", make_spec(), decay=1.0)
