from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import entropy, gmean, rankdata

from metaweight.core.contracts import StateSpec
from metaweight.teachers import build_teacher
from metaweight.teachers.sentences import (
    SENTENCE_SCALARS,
    LabelEmbedding,
    sentence_log_probability,
    sentence_scalars,
)
from metaweight.teachers.surface import Surface, matched_width
from metaweight.testing.states import WORDS, padded, sentence_spec, sentence_state

DOUBLE = torch.float64


def words_of(state, row):
    """Probabilities [n][V] and target words [n] of a sentence's real tokens."""
    places = state.real[row].nonzero().flatten().tolist()
    p = state.outputs[row].softmax(dim=1)
    return [p[t].tolist() for t in places], [int(state.targets[row, t]) for t in places]


def scalars_by_hand(state):
    rows, chance = [], math.log(WORDS)
    per_token = []
    for row in range(len(state)):
        p, y = words_of(state, row)
        per_token.append(sum(-math.log(q[word]) for q, word in zip(p, y, strict=True)) / len(y))
    ranks = 2 * (rankdata(per_token) - 1) / (len(state) - 1) - 1
    for row, (loss, rank) in enumerate(zip(per_token, ranks, strict=True)):
        p, y = words_of(state, row)
        log_y = [max(1 + math.log(q[word]) / chance, -3) for q, word in zip(p, y, strict=True)]
        others = [max(v for k, v in enumerate(q) if k != word) for q, word in zip(p, y, strict=True)]
        margin = [q[word] - other for q, word, other in zip(p, y, others, strict=True)]
        n = len(y)
        ratio = math.log(n / float(state.lengths["low"][row])) if state.lengths else 0.0
        rows.append(
            [
                math.log(1 + loss) / math.log(1 + chance) - 1,
                float(rank),
                sum(log_y) / n,
                min(log_y),
                log_y[0],
                log_y[-1],
                sum(margin) / n,
                sum(float(entropy(q)) for q in p) / chance / n,
                2 * sum(m > 0 for m in margin) / n - 1,
                0.5 * math.log(n) - 1,
                min(max(ratio, -2), 2),
            ]
        )
    return rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("change", ["none", "on-the-left", "no-source", "far-lengths", "sure"])
def test_scalars_are_those_of_a_loop_over_sentences(seed, change):
    state = sentence_state(9, seed=seed, dtype=DOUBLE)
    if change == "on-the-left":
        state = padded(state, 2, 1, logit=50.0, target=3)
    elif change == "no-source":
        state = replace(state, lengths={})
    elif change == "far-lengths":
        state = sentence_state(9, seed=seed, steps=30, dtype=DOUBLE)
        state = replace(state, lengths={"low": torch.tensor([1.0, 1e3] * 5, dtype=DOUBLE)[:9]})
    elif change == "sure":
        sure = state.outputs.scatter(2, state.targets[..., None].roll(1, 0), 60.0)
        state = replace(state, outputs=sure)
        log_p = sure.log_softmax(dim=2).gather(2, state.targets[..., None])[..., 0]
        summed = -log_p.where(state.real, log_p.new_zeros(())).sum(dim=1)
        state = replace(state, loss=summed * 9 / state.size.sum())
    seen = sentence_scalars(state, DOUBLE)
    assert seen.shape == (9, SENTENCE_SCALARS)
    for ours, by_hand in zip(seen.tolist(), scalars_by_hand(state), strict=True):
        assert ours == pytest.approx(by_hand, rel=1e-9, abs=1e-12)


def test_the_surface_of_a_sentence_is_its_scalars_the_run_and_the_mean_of_its_words():
    surface = Surface(sentence_spec(), label_width=3).double()
    state = sentence_state(6, dtype=DOUBLE)
    seen = surface(state)
    assert seen.shape == (6, surface.width) == (6, SENTENCE_SCALARS + 3 + 3)
    scalars = sentence_scalars(state, DOUBLE)
    assert torch.equal(seen[:, :SENTENCE_SCALARS], scalars)
    assert torch.equal(
        seen[:, SENTENCE_SCALARS : SENTENCE_SCALARS + 3], seen.new_tensor([-0.5, 0, 0]).expand(6, 3)
    )
    for row in range(6):
        _, y = words_of(state, row)
        mean = sum(surface.label.weight[word] for word in y) / len(y)
        torch.testing.assert_close(seen[row, -3:], mean, rtol=1e-12, atol=1e-15)


def test_padding_moves_no_words_embedding():
    label = LabelEmbedding(sentence_spec(), 4)
    state = padded(sentence_state(5), 0, 3, logit=0.0, target=7)
    used = state.targets[state.real].unique()
    label.of(state).sum().backward()
    moved = (label.weight.grad != 0).any(dim=1).nonzero().flatten()
    assert torch.equal(moved, used)
    assert 0 not in moved.tolist()


def test_a_sentences_probability_is_the_geometric_mean_of_its_words():
    state = sentence_state(9, dtype=DOUBLE)
    focal = build_teacher("focal", sentence_spec(dtype=DOUBLE), gamma=1.5, normalize="none")
    log_p, weights = sentence_log_probability(state), focal(state)
    for row in range(9):
        p, y = words_of(state, row)
        mean = float(gmean([q[word] for q, word in zip(p, y, strict=True)]))
        assert float(log_p[row].exp()) == pytest.approx(mean, rel=1e-12)
        assert float(weights[row]) == pytest.approx((1 - mean) ** 1.5, rel=1e-12)


@pytest.mark.parametrize("name", ["mw-net", "self-paced"])
def test_a_long_sentence_is_not_a_hard_one(name):
    """Equal losses per token give equal weights, whatever the lengths."""
    state = sentence_state(12, seed=1, dtype=DOUBLE)
    per_token = torch.tensor([0.5, 3.0] * 6, dtype=DOUBLE)
    state = replace(state, loss=per_token * state.size * len(state) / state.size.sum())
    teacher = build_teacher(name, sentence_spec(dtype=DOUBLE))
    teacher.track(replace(state, loss=state.loss * (1 - 1e-9)))  # a threshold clear of rounding
    teacher.track(replace(state, loss=state.loss * (1 + 1e-9)))
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    weights = teacher(state).detach()
    easy, hard = weights[0::2], weights[1::2]
    torch.testing.assert_close(easy, easy[:1].expand(6), rtol=1e-9, atol=0)
    torch.testing.assert_close(hard, hard[:1].expand(6), rtol=1e-9, atol=0)
    assert abs(float(easy[0] - hard[0])) > 1e-3


@pytest.mark.parametrize("words", [50, 2000])
@pytest.mark.parametrize("to", ["mlp", "attention", "memory"])
def test_surface_has_as_many_parameters_as_its_rival_beside_the_words_embeddings(to, words):
    def size(teacher):
        embedded = [m for m in teacher.modules() if isinstance(m, LabelEmbedding)]
        return sum(p.numel() for p in teacher.parameters()) - sum(m.weight.numel() for m in embedded)

    taps = {"low": 40, "source": 40, "deep": 60}
    tokens = StateSpec(features=taps, classes=words, tokens=True, source_taps=("low", "source"))
    for spec in (sentence_spec(taps, words=words), tokens):
        width = matched_width(spec, to=to)
        assert size(build_teacher("surface", spec, width=width)) == pytest.approx(
            size(build_teacher(to, spec)), rel=0.02
        )
        assert width == matched_width(replace(spec, classes=10 * words), to=to)
