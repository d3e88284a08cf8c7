"""What outputs, and trusted samples that are alike, say of a unit's target."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from metaweight.core.contracts import StateSpec
from metaweight.teachers.numbers import CLIP
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
    np.testing.assert_allclose(
        two.about(meta, two.heard(meta, others=True))[:, 1].numpy(), expected, rtol=1e-9, atol=1e-12
    )


def test_nor_is_one_that_is_trained_on_as_well():
    meta = class_state(30, seed=1, dtype=DOUBLE)
    meta = replace(meta, index=torch.arange(100, 130))
    both = replace(class_state(9, dtype=DOUBLE), index=torch.arange(9))
    apart, shared = (
        witnesses(replace(class_spec(dtype=DOUBLE), meta_in_train=joined)) for joined in (False, True)
    )
    for one in (apart, shared):
        one.observe(meta)
    assert torch.equal(apart(both), shared(both))
    others = apart.about(meta, apart.heard(meta, others=True))
    assert torch.equal(shared(meta), others)
    assert not torch.equal(apart(meta)[:, 1], others[:, 1])


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
