"""Numbers as targets: scales, evidence and agreement against other ways to the same figures."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

from metaweight.teachers import build_teacher
from metaweight.teachers.numbers import (
    CLIP,
    FAR,
    NumberScale,
    number_agreement,
    number_evidence,
    robust_spread,
)
from metaweight.testing.target_states import target_spec, target_state

DOUBLE = torch.float64


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def by_hand(attention: np.ndarray, held: np.ndarray, own: np.ndarray) -> np.ndarray:
    """``number_evidence`` of one number by sums of scipy's densities."""
    apart = held - np.sort(held, axis=0)[[len(held) // 2]]  # of an odd number of rows
    middle = 1.4826 * np.median(np.abs(apart), axis=0)
    width = 0.9 * np.minimum(middle, np.sqrt((apart**2).mean(axis=0))) * len(held) ** -0.2
    given = norm.pdf(own[:, None, 0], held[None, :, 0], width[0]).mean(axis=1)
    missed = (attention * norm.pdf(own[:, None, 1], held[None, :, 1], width[1])).sum(axis=1)
    return np.clip(np.log(missed) - np.log(given), -CLIP, CLIP)


def test_evidence_is_the_ratio_of_two_kernel_densities():
    held, own = drawn(31, 2), drawn(40, 2, seed=1) * torch.tensor([1.0, 0.7])
    attention = drawn(40, 31, seed=2).softmax(dim=1)
    evidence = number_evidence(attention, held, own)
    expected = by_hand(attention.numpy(), held.numpy(), own.numpy())
    assert (np.abs(expected) < CLIP).sum() > 35
    torch.testing.assert_close(evidence, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_evidence_of_several_numbers_is_their_sum_and_any_unit_of_measurement_does():
    held, own = drawn(31, 4), drawn(9, 4, seed=1) / 3
    attention = torch.full((9, 31), 1 / 31, dtype=DOUBLE)
    each = [number_evidence(attention, held[:, [d, 2 + d]], own[:, [d, 2 + d]]) for d in (0, 1)]
    both = number_evidence(attention, held, own)
    torch.testing.assert_close(both, (each[0] + each[1]).clamp(-CLIP, CLIP), rtol=1e-12, atol=1e-12)
    scale = torch.tensor([1e6, 1e-6, 1e6, 1e-6], dtype=DOUBLE)
    # a number and its residual have one unit, which cancels
    torch.testing.assert_close(number_evidence(attention, held * scale, own * scale), both)


def test_a_student_that_knows_nothing_has_no_evidence_and_a_right_tail_is_not_strange():
    given = torch.cat([drawn(97), 30 + drawn(4, seed=3) / 10])[:, None]
    ignorant = torch.cat([given, given - 0.5], dim=1)
    equal = torch.full((101, 101), 1 / 101, dtype=DOUBLE)
    assert float(number_evidence(equal, ignorant, ignorant).abs().max()) < 1e-9
    # one that knows the middle says what is right there, and says nothing of the tail that it never meets
    knowing = torch.cat([given, torch.where(given < 20, given / 10, given)], dim=1)
    evidence = number_evidence(equal, knowing, knowing)
    assert float(evidence[:97].min()) > 0
    assert float(evidence[97:].min()) > -1
    wrong = torch.tensor([[0.0, 2.0], [1.0, -3.0]], dtype=DOUBLE)
    assert number_evidence(equal[:2], knowing, wrong).tolist() == [-CLIP, -CLIP]


def test_without_any_spread_numbers_prove_nothing():
    one = torch.ones(3, 2, dtype=DOUBLE)
    equal = torch.full((2, 3), 1 / 3, dtype=DOUBLE)
    own = torch.tensor([[1.0, 1.0], [1e9, -1e9]], dtype=DOUBLE)
    assert number_evidence(equal, one, own).tolist() == [0, 0]
    assert bool(number_agreement(equal, one, own).isfinite().all())


def test_agreement_is_the_distance_from_the_attended_mean_in_its_spreads():
    held, own = drawn(20, 2), drawn(6, 2, seed=1)
    attention = drawn(6, 20, seed=2).softmax(dim=1)
    seen = number_agreement(attention, held, own)
    for i in range(6):
        for part in (0, 1):
            mean = float(np.average(held[:, part], weights=attention[i]))
            square = float(np.average((held[:, part].numpy() - mean) ** 2, weights=attention[i]))
            spread = math.sqrt(square + 0.1 * float(held[:, part].var(correction=0)))
            z = (float(own[i, part]) - mean) / spread
            expected = [2 * math.log1p(abs(z)) / math.log1p(FAR) - 1, z / (1 + abs(z))]
            assert seen[i, 2 * part : 2 * part + 2].tolist() == pytest.approx(expected, rel=1e-9)


def test_scales_are_running_means_of_medians_that_a_minority_of_wrong_rows_leaves_alone():
    values = torch.tensor([[1.0], [-2.0], [3.0], [1e6], [0.5]], dtype=DOUBLE)
    assert robust_spread(values).item() == pytest.approx(1.4826 * 2)
    assert robust_spread(torch.tensor([[0.0], [0.0], [3.0]])).item() == pytest.approx(math.sqrt(3))
    scale = NumberScale(1, decay=0.5).double()
    states = [target_state("number", 21, seed=seed, outputs=1, dtype=DOUBLE) for seed in range(3)]
    medians = [float(np.median(state.targets.numpy())) for state in states]
    for state in states:
        scale.track(state)
    plain = (medians[0] + medians[1]) / 2
    assert scale.centre.item() == pytest.approx((plain + medians[2]) / 2, rel=1e-12)
    assert scale.right.item() == 0
    blank = scale.scalars(states[0])
    assert blank[:, 0].tolist() == [-1.0] * 21  # the trusted rows' scale is not known
    scale.observe(states[1])
    missed = (states[1].targets - states[1].outputs).numpy()
    assert scale.right.item() == pytest.approx(1.4826 * float(np.median(np.abs(missed))), rel=1e-12)
    assert not torch.equal(scale.scalars(states[0])[:, 0], blank[:, 0])


@pytest.mark.parametrize("taps", [{"deep": 6}, {}])
def test_knn_weighs_numbers_by_the_evidence_of_the_nearest(taps):
    teacher = build_teacher("knn", target_spec("number", outputs=1, features=taps, dtype=DOUBLE), k=7)
    meta, state = (target_state("number", n, seed=n, outputs=1, dtype=DOUBLE) for n in (41, 30))
    assert torch.equal(teacher(state), torch.ones(30, dtype=DOUBLE))
    teacher.observe(meta)
    attention = np.full((30, 41), 1 / 41)
    if taps:
        mean = meta.features["deep"].mean(dim=0)
        near = NearestNeighbors(n_neighbors=7, metric="cosine").fit((meta.features["deep"] - mean).numpy())
        attention = near.kneighbors_graph((state.features["deep"] - mean).numpy()).toarray() / 7
    held, own = (np.hstack([s.targets, s.targets - s.outputs]) for s in (meta, state))
    evidence = torch.from_numpy(by_hand(attention, held, own))
    torch.testing.assert_close(teacher(state), 2 * evidence.sigmoid(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["surface", "mlp", "attention", "memory", "recall"])
def test_learned_teachers_start_from_the_evidence_and_from_one_before_there_is_any(name):
    torch.manual_seed(0)
    teacher = build_teacher(name, target_spec("number", outputs=1, dtype=DOUBLE))
    meta, state = (target_state("number", n, seed=n, outputs=1, dtype=DOUBLE) for n in (41, 30))
    assert torch.equal(teacher(state), torch.ones(30, dtype=DOUBLE))
    teacher.observe(meta)
    attention, held, itself = teacher.neighbours(state)
    assert itself is None
    own = torch.cat([state.targets, state.targets - state.outputs], dim=1)
    expected = 2 * number_evidence(attention, held, own).sigmoid().detach()
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(teacher(state), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", ["surface", "mlp", "attention", "memory", "recall", "knn"])
def test_the_unit_of_a_number_does_not_matter(name):
    weights = []
    for unit in (1.0, 1e5):
        torch.manual_seed(0)
        teacher = build_teacher(name, target_spec("number", outputs=2, dtype=DOUBLE))
        with torch.no_grad():
            for p in teacher.parameters():
                p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=DOUBLE))
        states = [target_state("number", 30, seed=seed, outputs=2, dtype=DOUBLE) for seed in range(3)]
        states = [
            replace(s, targets=s.targets * unit, outputs=s.outputs * unit, loss=s.loss * unit**2)
            for s in states
        ]
        teacher.track(states[0])
        teacher.observe(states[1])
        weights.append(teacher(states[2]))
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-8, atol=1e-9)
