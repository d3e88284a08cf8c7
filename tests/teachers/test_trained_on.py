"""Trusted samples that are trained on too: none is its own witness."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from metaweight.core.contracts import StudentState
from metaweight.teachers import build_teacher
from metaweight.teachers.numbers import number_evidence
from metaweight.teachers.pair_states import pair_agreement
from metaweight.testing.states import class_spec, class_state, sentence_spec, sentence_state
from metaweight.testing.target_states import target_spec, target_state

DOUBLE = torch.float64
KINDS = ("class", "soft", "several")
OPTIONS = {"knn": {"k": 3}, "evidence": {"k": 3, "vote": 2.0}, "memory": {}}


def spec_of(kind):
    return class_spec(dtype=DOUBLE) if kind == "class" else target_spec(kind, dtype=DOUBLE)


def state_of(kind, n, seed):
    one = class_state if kind == "class" else lambda n, **given: target_state(kind, n, **given)
    return replace(one(n, seed=seed, dtype=DOUBLE), index=torch.arange(100, 100 + n))


def built(name, kind, meta, *, joined):
    torch.manual_seed(0)
    teacher = build_teacher(name, replace(spec_of(kind), meta_in_train=joined), **OPTIONS[name])
    for parameter in teacher.parameters():
        nn.init.normal_(parameter, std=0.5)
    teacher.observe(meta)
    return teacher


@pytest.mark.parametrize(
    ("name", "kind"),
    [(n, k) for n in OPTIONS for k in KINDS if n != "knn" or k == "class"],
)
def test_what_a_trusted_sample_is_told_does_not_speak_for_itself(name, kind):
    """Each trusted sample in turn is remembered with another target; its own weight does not see it."""
    meta = state_of(kind, 12, seed=1)
    seen = {True: 0.0, False: 0.0}
    for joined in seen:
        weights = built(name, kind, meta, joined=joined)(meta)
        for place in range(len(meta)):
            targets = meta.targets.clone()
            targets[place] = targets[(place + 5) % 12]
            own = built(name, kind, replace(meta, targets=targets), joined=joined)(meta)[place]
            seen[joined] = max(seen[joined], float((own - weights[place]).detach().abs()))
    assert seen[True] == 0
    assert seen[False] > 0.01


@pytest.mark.parametrize("name", OPTIONS)
def test_other_samples_are_compared_with_all(name):
    meta, state = state_of("class", 12, seed=1), replace(state_of("class", 9, seed=2), index=torch.arange(9))
    apart, joined = (built(name, "class", meta, joined=one)(state) for one in (False, True))
    assert float(apart.detach().std()) > 0.01
    assert torch.equal(apart, joined)


@pytest.mark.parametrize("name", ["surface", "mlp", "knn", "evidence", "memory", "jury"])
@pytest.mark.parametrize("kind", [*KINDS, "number"])
def test_a_trusted_sample_alone_has_no_other_to_be_compared_with(name, kind):
    spec = target_spec(kind, dtype=DOUBLE) if kind != "class" else class_spec(dtype=DOUBLE)
    torch.manual_seed(0)
    teacher, before = (build_teacher(name, replace(spec, meta_in_train=True)) for _ in range(2))
    meta = state_of(kind, 1, seed=1)
    teacher.observe(meta)
    for state in (meta, state_of(kind, 7, seed=2)):
        weights = teacher(state)
        assert bool(weights.isfinite().all())
        if name in ("knn", "evidence"):
            assert torch.equal(weights, before(state))


def test_evidence_of_numbers_is_that_of_the_other_rows():
    """By scipy's densities; kernels are as wide as all that is held says."""
    g = torch.Generator().manual_seed(0)
    held = torch.randn(31, 2, generator=g, dtype=DOUBLE)
    own, itself = held[:20] * torch.tensor([1.0, 0.7]), torch.eye(31, dtype=torch.bool)[:20]
    attention = torch.randn(20, 31, generator=g, dtype=DOUBLE).masked_fill(itself, -torch.inf).softmax(dim=1)
    found = number_evidence(attention, held, own, itself).numpy()
    rows = held.numpy()
    apart = rows - np.median(rows, axis=0)
    middle = 1.4826 * np.median(np.abs(apart), axis=0)
    width = 0.9 * np.minimum(middle, np.sqrt((apart**2).mean(axis=0))) * 31**-0.2
    for row in range(20):
        others = np.arange(31) != row
        given = norm.pdf(float(own[row, 0]), rows[others, 0], width[0]).mean()
        missed = norm.pdf(float(own[row, 1]), rows[others, 1], width[1]) @ attention[row].numpy()[others]
        assert found[row] == pytest.approx(np.clip(np.log(missed / given), -3, 3), rel=1e-9, abs=1e-12)


def of_numbers(name, *, joined, taps):
    meta = replace(target_state("number", 31, seed=1, outputs=1, dtype=DOUBLE), index=torch.arange(31))
    torch.manual_seed(0)
    spec = replace(target_spec("number", outputs=1, dtype=DOUBLE), meta_in_train=joined)
    teacher = build_teacher(name, spec if taps else replace(spec, features={}))
    teacher.observe(meta)
    return teacher, meta


@pytest.mark.parametrize("name", ["surface", "knn", "evidence", "jury"])
def test_numbers_do_not_speak_for_themselves(name):
    teacher, meta = of_numbers(name, joined=True, taps=name == "surface")
    itself = torch.eye(31, dtype=torch.bool)
    held = torch.cat([meta.targets, meta.targets - meta.outputs], dim=1)
    evidence = number_evidence((~itself).double() / 30, held, held, itself)
    assert not torch.allclose(evidence, number_evidence((~itself).double() / 30, held, held), atol=1e-3)
    if name == "jury":
        torch.testing.assert_close(teacher.witnesses(meta)[:, 0], evidence, rtol=1e-9, atol=1e-9)
    else:
        torch.testing.assert_close(teacher(meta).detach(), 2 * evidence.sigmoid(), rtol=1e-9, atol=1e-9)


def test_nor_do_they_where_attention_is_learnt():
    (apart, meta), (joined, _) = (of_numbers("memory", joined=one, taps=True) for one in (False, True))
    assert float((apart(meta) - joined(meta)).detach().abs().max()) > 0.01
    stranger = replace(meta, index=meta.index + 1000)  # the same rows, which are not in the meta set
    assert torch.equal(joined(stranger), apart(meta))


def test_agreement_of_pairs_is_that_of_the_other_pairs():
    g = torch.Generator().manual_seed(0)
    trusted = nn.functional.normalize(torch.randn(9, 4, generator=g, dtype=DOUBLE))
    itself = torch.eye(9, dtype=torch.bool)
    nearness = torch.randn(9, 9, generator=g, dtype=DOUBLE).tanh().masked_fill(itself, 1)
    attention = nearness.masked_fill(itself, -torch.inf).softmax(dim=1)
    found = pair_agreement(attention, nearness, trusted, trusted, itself)
    for row in range(9):
        others = [place for place in range(9) if place != row]
        seen = [values[row : row + 1, others] for values in (attention, nearness)]
        alone = pair_agreement(*seen, trusted[row : row + 1], trusted[others])
        torch.testing.assert_close(found[row : row + 1], alone, rtol=1e-12, atol=1e-12)


def of_clusters(clusters: list[int], wrong: set[int]) -> StudentState:
    g = torch.Generator().manual_seed(len(clusters))
    centres = 5 * torch.eye(3, dtype=DOUBLE)
    told = torch.tensor([(c + 1) % 3 if i in wrong else c for i, c in enumerate(clusters)])
    source, target = (
        centres[places] + 0.05 * torch.randn(len(clusters), 3, generator=g, dtype=DOUBLE)
        for places in (torch.tensor(clusters), told)
    )
    state = sentence_state(len(clusters), dtype=DOUBLE)
    return replace(state, features={"source": source, "deep": target}, index=torch.arange(len(clusters)))


@pytest.mark.parametrize(("name", "options"), [("knn", {"k": 1}), ("evidence", {"k": 1, "vote": 2.0})])
def test_a_trusted_pair_is_not_its_own_neighbour(name, options):
    """Of thirty trusted pairs one is wrong: its nearest source is its own, unless that is left out."""
    meta = of_clusters([i % 3 for i in range(30)], {4})
    weights = []
    for joined in (False, True):
        spec = replace(sentence_spec({"source": 3, "deep": 3}, dtype=DOUBLE), meta_in_train=joined)
        teacher = build_teacher(name, spec, **options)
        teacher.observe(meta)
        weights.append(teacher(meta))
    assert float(weights[0][4]) > float(weights[1][4])
    if name == "knn":
        assert [weight[4].item() for weight in weights] == [2.0, 0.0]
        assert weights[1].sum() == 2 * 29
