from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from metaweight.teachers import build_teacher
from metaweight.teachers.fixed import effective_number


def test_uniform_is_one_in_every_bit(make_spec, make_state):
    assert torch.equal(build_teacher("uniform", make_spec())(make_state(5)), torch.ones(5))


def test_random_draws_from_one_generator_once_a_step(make_spec, make_state):
    teacher = build_teacher("random", make_spec(), seed=7)
    generator = torch.Generator().manual_seed(7)
    for units in (30, 8, 30):
        drawn = torch.randn(units, generator=generator).clamp_min(0)
        torch.testing.assert_close(teacher(make_state(units)), drawn / drawn.mean(), rtol=1e-6, atol=0)
        teacher.track(make_state(units))
    other = build_teacher("random", make_spec(), seed=8)
    assert not torch.equal(
        other(make_state(30)), build_teacher("random", make_spec(), seed=7)(make_state(30))
    )


def test_random_weights_are_half_normal_with_mean_one(make_spec, make_state):
    weights = build_teacher("random", make_spec())(make_state(20_000, dtype=torch.float64))
    torch.testing.assert_close(weights.mean(), torch.ones((), dtype=torch.float64), rtol=1e-12, atol=0)
    # of max(N, 0) / E: second moment is (1/2) / (1 / 2 pi) = pi; half are 0; both within 5 standard errors
    assert abs(float(weights.square().mean()) - torch.pi) < 0.25
    assert abs(float((weights == 0).double().mean()) - 0.5) < 0.018


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 1.0])
def test_class_balanced_is_the_inverse_effective_number_with_mean_one_over_the_training_set(
    beta, make_spec, make_state
):
    counts = (400, 30, 1, 69)
    teacher = build_teacher("class-balanced", make_spec(class_counts=counts, dtype=torch.float64), beta=beta)
    labels = torch.arange(4).repeat_interleave(torch.tensor(counts))
    weights = teacher(make_state(500, dtype=torch.float64, targets=labels))
    # the effective number is a geometric series: 1 + beta + ... + beta^(n-1)
    effective = [sum(beta**k for k in range(n)) for n in counts]
    expected = torch.tensor([1 / effective[y] for y in labels.tolist()], dtype=torch.float64)
    torch.testing.assert_close(weights, expected / expected.mean(), rtol=1e-11, atol=0)


def test_effective_number_keeps_its_digits_near_beta_one():
    counts = torch.tensor([10.0, 5000.0])
    exact = torch.tensor([(1 - (1 - 1e-7) ** n) / 1e-7 for n in (10, 5000)])
    torch.testing.assert_close(effective_number(counts, 1 - 1e-7), exact, rtol=1e-6, atol=0)


def test_class_balanced_without_counts_learns_them_from_the_batches(make_spec, make_state):
    teacher = build_teacher("class-balanced", make_spec(), beta=1.0)
    state = make_state(6, targets=torch.tensor([0, 0, 0, 1, 1, 3]))
    assert torch.equal(teacher(state), torch.ones(6))
    teacher.track(state)
    teacher.track(state)
    # inverse frequency over three classes seen: each class has total weight 6 / 3
    torch.testing.assert_close(teacher(state), torch.tensor([2 / 3, 2 / 3, 2 / 3, 1, 1, 2]))
    never_seen = teacher(replace(state, targets=torch.full((6,), 2)))
    torch.testing.assert_close(never_seen, torch.full((6,), 4.0))  # as one sample: 1 / 1 over mean 3 / 12
    known = build_teacher("class-balanced", make_spec(class_counts=(5, 5, 5, 5)))
    known.track(state)
    assert torch.equal(known.counts, torch.full((4,), 5))


def test_counted_labels_are_saved(make_spec, make_state):
    counting, loaded = (build_teacher("class-balanced", make_spec()) for _ in range(2))
    counting.track(make_state(30))
    loaded.load_state_dict(counting.state_dict())
    assert torch.equal(loaded(make_state()), counting(make_state()))
    assert not torch.equal(loaded(make_state()), torch.ones(12))


def test_focal_is_the_papers_factor_and_keeps_tiny_ones(make_spec, make_state):
    state = make_state(9, dtype=torch.float64)
    p = state.outputs.softmax(dim=1)[torch.arange(9), state.targets]
    for gamma in (0.0, 0.5, 3.0):
        paper = build_teacher("focal", make_spec(), gamma=gamma, normalize="none")
        torch.testing.assert_close(paper(state), (1 - p) ** gamma, rtol=1e-9, atol=0)
    scaled = build_teacher("focal", make_spec(), gamma=3.0)
    torch.testing.assert_close(scaled(state), (1 - p) ** 3 / ((1 - p) ** 3).mean(), rtol=1e-9, atol=0)
    # 1 - p_y is below float32's resolution at 1, but not gone
    sure = make_state(1, outputs=torch.tensor([[20.0, 0, 0, 0]]), targets=torch.tensor([0]))
    one = build_teacher("focal", make_spec(), gamma=1.0, normalize="none")
    torch.testing.assert_close(one(sure), 3 * torch.tensor([-20.0]).exp(), rtol=1e-6, atol=0)


def test_focal_gives_one_where_all_are_equally_hard(make_spec, make_state):
    state = make_state(4, outputs=torch.zeros(4, 4))
    assert torch.equal(build_teacher("focal", make_spec())(state), torch.ones(4))


def test_self_paced_keeps_a_growing_share_of_the_easiest(make_spec, make_state):
    teacher = build_teacher("self-paced", make_spec(), start=0.5)
    loss = torch.randperm(101, generator=torch.Generator().manual_seed(0)).float()
    state = make_state(101, loss=loss, progress=0.0)
    assert torch.equal(teacher(state), torch.ones(101))
    teacher.track(state)
    for progress, highest in ((0.0, 50), (0.5, 75), (0.9, 95), (1.0, 100)):
        assert torch.equal(teacher(replace(state, progress=progress)), (loss <= highest).float())
    scaled = build_teacher("self-paced", make_spec(), start=0.5, normalize="batch")
    scaled.track(state)
    torch.testing.assert_close(scaled(state), (loss <= 50).float() * 101 / 51)


def test_self_paced_forgets_the_oldest_losses(make_spec, make_state):
    teacher = build_teacher("self-paced", make_spec(), start=0.5, history=6)
    for value in (100.0, 3.0, 1.0):
        teacher.track(make_state(3, loss=torch.full((3,), value)))
    assert sorted(teacher.losses.tolist()) == [1, 1, 1, 3, 3, 3]
    assert int(teacher.count) == 6
    assert torch.equal(
        teacher(make_state(2, loss=torch.tensor([1.9, 3.0]), progress=0.0)), torch.tensor([1.0, 0])
    )


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("class-balanced", "beta", 1.5, r"beta lies in \[0, 1\], got 1.5"),
        ("focal", "gamma", -1.0, "gamma is 0 or more, got -1"),
        ("self-paced", "start", 0.0, r"lies in \(0, 1\], got 0"),
        ("self-paced", "history", 0, "1 loss or more, got 0"),
    ],
)
def test_options_out_of_range_are_refused(name, option, value, message, make_spec):
    with pytest.raises(ValueError, match=message):
        build_teacher(name, make_spec(), **{option: value})


@pytest.mark.parametrize("counts", [(1, 2, 3), (1, 2, 3, -1), (0, 0, 0, 0)])
@pytest.mark.parametrize("name", ["class-balanced", "cmw-net"])
def test_class_counts_that_do_not_fit_are_refused(name, counts, make_spec):
    with pytest.raises(ValueError, match="4 counts >= 0, not all 0"):
        build_teacher(name, make_spec(class_counts=counts))


def test_a_label_a_token_is_refused_with_what_to_choose(make_spec, make_state):
    sentence = make_state(3, outputs=torch.zeros(3, 5, 4), targets=torch.zeros(3, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"targets \(3, 5\) and outputs \(3, 5, 4\).*'mw-net'"):
        build_teacher("focal", make_spec())(sentence)
    assert build_teacher("mw-net", make_spec())(sentence).shape == (3,)
