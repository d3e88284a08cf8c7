from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from metaweight.teachers import build_teacher
from metaweight.teachers.pair_states import centred_unit, pair_agreement, pair_states, pair_taps
from metaweight.testing.states import sentence_spec, sentence_state

DOUBLE = torch.float64


def clustered(clusters, *, seed, wrong=()):
    """Pairs with states about the centres of their cluster; ``wrong`` have another one's target."""
    g = torch.Generator().manual_seed(seed)
    centres = 5 * torch.eye(4, dtype=DOUBLE)[:, :3] + torch.tensor([9.0, -4.0, 2.0], dtype=DOUBLE)
    others = torch.tensor([(c + 1) % 3 if i in wrong else c for i, c in enumerate(clusters)])
    own = torch.tensor(clusters)

    def near(places):
        return centres[places] + 0.05 * torch.randn(len(places), 3, generator=g, dtype=DOUBLE)

    state = sentence_state(len(clusters), seed=seed, dtype=DOUBLE)
    return replace(state, features={"source": near(own), "deep": -2 * near(others)})


SPEC = sentence_spec({"source": 3, "deep": 3}, dtype=DOUBLE)


def test_agreement_by_hand():
    """Two trusted targets at right angles, of which the first is attended three times as much."""
    trusted = torch.eye(2, dtype=DOUBLE)
    attention = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=DOUBLE)
    nearness = torch.tensor([[0.9, -0.2], [0.1, 0.3]], dtype=DOUBLE)
    own = torch.tensor([[0.6, 0.8], [-1.0, 0.0]], dtype=DOUBLE)
    seen = pair_agreement(attention, nearness, own, trusted)
    first = [(0.6 * 0.75 + 0.8 * 0.25) / math.hypot(0.75, 0.25), 0.65, 0.65 - 0.7, 0.9]
    second = [-math.sqrt(0.5), -0.5, -0.5 + 0.5, 0.3]
    assert seen[0].tolist() == pytest.approx(first, rel=1e-12)
    assert seen[1].tolist() == pytest.approx(second, rel=1e-12, abs=1e-15)


def test_centred_states_have_length_one_at_any_scale_and_zero_stays_zero():
    states = torch.tensor([[3.0, 4.0], [1.0, 1.0], [1 + 3e-30, 1 - 4e-30]])
    centre = torch.ones(2)
    for scale in (1.0, 1e-30, 1e30):
        seen = centred_unit(scale * (states - centre), torch.zeros(2))
        torch.testing.assert_close(seen[0], torch.tensor([2.0, 3.0]) / math.sqrt(13))
        assert torch.equal(seen[1], torch.zeros(2))
    torch.testing.assert_close(centred_unit(states, centre)[0], torch.tensor([2.0, 3.0]) / math.sqrt(13))


def test_the_deepest_tap_of_each_side_is_compared():
    spec = sentence_spec()
    taps = pair_taps(spec, "knn")
    assert taps == ("source", "deep")
    state = sentence_state()
    joined = pair_states(state, taps)
    assert torch.equal(joined[:, :7], state.features["source"])
    assert torch.equal(joined[:, 7:], state.features["deep"])


@pytest.mark.parametrize(("trusted", "k"), [(60, 10), (60, 20), (9, 10), (9, 500)])
def test_knn_drops_the_pairs_whose_target_belongs_to_another_source(trusted, k):
    """Three clusters: a right pair has its neighbours' target, a wrong one the next cluster's."""
    teacher = build_teacher("knn", SPEC, k=k)
    teacher.observe(clustered([i % 3 for i in range(trusted)], seed=1))
    wrong = {1, 4, 8, 9}
    weights = teacher(clustered([i % 3 for i in range(12)], seed=2, wrong=wrong))
    assert weights.tolist() == [0.0 if i in wrong else 2.0 for i in range(12)]


def test_knn_needs_two_trusted_pairs_to_compare():
    teacher, state = build_teacher("knn", SPEC), clustered([0, 1, 2], seed=2)
    assert torch.equal(teacher(state), torch.ones(3, dtype=DOUBLE))
    teacher.observe(clustered([0], seed=1))
    assert torch.equal(teacher(state), torch.ones(3, dtype=DOUBLE))
    teacher.observe(replace(clustered([1], seed=3), index=torch.tensor([77])))
    assert teacher(state)[:2].tolist() == [2, 2]


def test_knn_votes_by_the_excess_over_the_plain_mean_in_a_loop():
    teacher = build_teacher("knn", sentence_spec(dtype=DOUBLE), k=4)
    meta, state = sentence_state(15, seed=1, dtype=DOUBLE), sentence_state(30, seed=2, dtype=DOUBLE)
    teacher.observe(meta)
    cosine = torch.nn.CosineSimilarity(dim=0)
    centres = {tap: meta.features[tap].mean(dim=0) for tap in ("source", "deep")}

    def nearness(tap, i, j):
        return float(cosine(state.features[tap][i] - centres[tap], meta.features[tap][j] - centres[tap]))

    expected = []
    for i in range(30):
        nearest = sorted(range(15), key=lambda j: -nearness("source", i, j))[:4]
        cosines = [nearness("deep", i, j) for j in range(15)]
        expected.append(2.0 if sum(cosines[j] for j in nearest) / 4 > sum(cosines) / 15 else 0.0)
    assert teacher(state).tolist() == expected
    assert 0 < sum(expected) < 60


def test_memory_reads_the_agreement_that_a_loop_gives():
    teacher = build_teacher("memory", sentence_spec(dtype=DOUBLE), temperature=6.0)
    meta, state = sentence_state(15, seed=1, dtype=DOUBLE), sentence_state(5, seed=2, dtype=DOUBLE)
    teacher.observe(meta)
    with torch.no_grad():
        for parameter in (teacher.head.output.weight, teacher.project.weight):
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    read = []
    teacher.head.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].detach()))
    teacher(state)
    cosine = torch.nn.CosineSimilarity(dim=0)
    temperature = float(teacher.log_temperature.exp().detach())
    centres = {tap: meta.features[tap].mean(dim=0) for tap in ("source", "deep")}
    unit = torch.nn.functional.normalize
    for i in range(5):
        near, cosines, targets = [], [], []
        for j in range(15):
            # the projection is linear, but the length is taken off before it: only the angle is left
            own, other = (s.features["source"][row] - centres["source"] for s, row in ((state, i), (meta, j)))
            project = teacher.project.weight.detach()
            near.append(float(cosine(project @ own, project @ other)))
            own, other = (s.features["deep"][row] - centres["deep"] for s, row in ((state, i), (meta, j)))
            cosines.append(float(cosine(own, other)))
            targets.append(unit(other, dim=0))
        mass = [math.exp(temperature * n) for n in near]
        share = [m / sum(mass) for m in mass]
        attended = sum(s * c for s, c in zip(share, cosines, strict=True))
        mean = sum(s * t for s, t in zip(share, targets, strict=True))
        own = state.features["deep"][i] - centres["deep"]
        by_hand = [float(cosine(own, mean)), attended, attended - sum(cosines) / 15, max(near)]
        assert read[0][i, -4:].tolist() == pytest.approx(by_hand, rel=1e-9, abs=1e-12)


def test_memory_looks_for_wrong_pairs_where_knn_finds_them():
    """The excess that both read is positive for right pairs only."""
    teacher = build_teacher("memory", SPEC)
    teacher.observe(clustered([i % 3 for i in range(60)], seed=1))
    read = []
    teacher.head.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].detach()))
    teacher(clustered([i % 3 for i in range(12)], seed=2, wrong={1, 4, 8}))
    assert (read[0][:, -2] < 0).nonzero().flatten().tolist() == [1, 4, 8]


def test_votes_for_words_are_those_of_one_hot_counts():
    """A token as a unit has V classes, of which the vote must not build a table for every neighbour."""
    spec = replace(SPEC, sentences=False, tokens=True, classes=5)
    teacher = build_teacher("knn", spec, k=7)

    def tokens(units, seed):
        state = sentence_state(units, seed=seed, words=5, dtype=DOUBLE, taps={"deep": 3})
        return replace(state, outputs=state.outputs[:, 0], targets=state.targets[:, 0], real=None)

    meta, state = tokens(40, 1), tokens(60, 2)
    teacher.observe(meta)
    centre = meta.features["deep"].mean(dim=0)
    own, trusted = (torch.nn.functional.normalize(s.features["deep"] - centre, dim=1) for s in (state, meta))
    nearest = (own @ trusted.T).topk(7, dim=1).indices
    votes = torch.nn.functional.one_hot(meta.targets[nearest], 5).sum(dim=1)
    agrees = votes.gather(1, state.targets[:, None])[:, 0] == votes.amax(dim=1)
    assert torch.equal(teacher(state), 2 * agrees.double())
