"""``evidence``: what the student and the trusted neighbours say, by other ways to the same figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.neighbors import KNeighborsClassifier

from metaweight.core.contracts import StudentState
from metaweight.teachers import build_teacher
from metaweight.teachers.evidence import FLOOR
from metaweight.teachers.numbers import CLIP
from metaweight.testing.states import class_spec, class_state, sentence_spec, sentence_state
from metaweight.testing.target_states import target_spec, target_state, with_targets

DOUBLE = torch.float64


def soft(state: StudentState) -> StudentState:
    return with_targets("soft", state, F.one_hot(state.targets, state.outputs.shape[1]).double())


def one_logit(state: StudentState) -> StudentState:
    return replace(state, outputs=state.outputs[:, 1:] - state.outputs[:, :1], targets=state.targets.double())


@pytest.mark.parametrize("vote", [0.0, 0.7])
def test_a_class_is_weighed_by_its_odds_in_outputs_and_among_neighbours(vote):
    teacher = build_teacher("evidence", class_spec(classes=3, dtype=DOUBLE), k=7, vote=vote)
    meta, state = (class_state(n, seed=n, classes=3, dtype=DOUBLE) for n in (80, 50))
    own = np.clip(np.log(3) - state.loss.numpy(), -CLIP, CLIP)  # the loss is -log p_y
    torch.testing.assert_close(teacher(state), torch.from_numpy(2 / (1 + np.exp(-own))), rtol=1e-12, atol=0)
    teacher.observe(meta)
    mean = meta.features["deep"].mean(dim=0)
    votes = KNeighborsClassifier(7, metric="cosine", algorithm="brute").fit(
        (meta.features["deep"] - mean).numpy(), meta.targets.numpy()
    )
    shares = votes.predict_proba((state.features["deep"] - mean).numpy())[np.arange(50), state.targets]
    score = own + vote * np.log(3 * np.maximum(shares, FLOOR))
    torch.testing.assert_close(teacher(state), torch.from_numpy(2 / (1 + np.exp(-score))), rtol=1e-9, atol=0)


def test_a_student_in_two_minds_leaves_the_weight_at_one():
    teacher = build_teacher("evidence", class_spec(dtype=DOUBLE))
    state = class_state(12, dtype=DOUBLE)
    even = replace(state, outputs=torch.zeros_like(state.outputs))
    torch.testing.assert_close(teacher(even), torch.ones(12, dtype=DOUBLE), rtol=1e-15, atol=0)


def test_soft_labels_and_one_logit_are_weighed_as_the_classes_that_they_are():
    four = build_teacher("evidence", class_spec(dtype=DOUBLE))
    same = build_teacher("evidence", target_spec("soft", outputs=4, dtype=DOUBLE))
    two = build_teacher("evidence", class_spec(classes=2, dtype=DOUBLE))
    one = build_teacher("evidence", target_spec("several", outputs=1, dtype=DOUBLE))
    for classes, other, change, count in ((four, same, soft, 4), (two, one, one_logit, 2)):
        meta, state = (class_state(n, seed=n, classes=count, dtype=DOUBLE) for n in (60, 40))
        classes.observe(meta)
        other.observe(change(meta))
        assert float(classes(state).std()) > 0.3
        torch.testing.assert_close(other(change(state)), classes(state), rtol=1e-9, atol=0)


def test_several_answers_are_weighed_by_the_mean_over_the_questions():
    alone = [build_teacher("evidence", target_spec("several", outputs=1, dtype=DOUBLE)) for _ in range(3)]
    whole = build_teacher("evidence", target_spec("several", dtype=DOUBLE))
    meta, state = (target_state("several", n, seed=n, dtype=DOUBLE) for n in (60, 40))

    def column(one: StudentState, at: int) -> StudentState:
        return replace(one, outputs=one.outputs[:, at : at + 1], targets=one.targets[:, at])

    whole.observe(meta)
    for at, teacher in enumerate(alone):
        teacher.observe(column(meta, at))
    scores = torch.stack([teacher.score(column(state, at)) for at, teacher in enumerate(alone)])
    torch.testing.assert_close(whole.score(state), scores.mean(dim=0), rtol=1e-12, atol=1e-14)


def test_numbers_are_weighed_as_knn_weighs_them():
    spec = target_spec("number", dtype=DOUBLE)
    teacher, votes = build_teacher("evidence", spec), build_teacher("knn", spec)
    meta, state = (target_state("number", n, seed=n, dtype=DOUBLE) for n in (60, 40))
    for one in (teacher, votes):
        one.observe(meta)
    torch.testing.assert_close(teacher(state), votes(state), rtol=1e-12, atol=0)


def test_words_are_weighed_by_what_was_to_be_expected():
    spec = class_spec(classes=50, tokens=True, dtype=DOUBLE)
    teacher = build_teacher("evidence", spec, k=7, vote=0.7)
    meta, state = (class_state(n, seed=n, classes=50, dtype=DOUBLE) for n in (80, 200))
    p = torch.distributions.Categorical(logits=state.outputs)
    own = (p.log_prob(state.targets) + p.entropy()).clamp(-CLIP, CLIP)
    torch.testing.assert_close(teacher.score(state), own, rtol=1e-9, atol=1e-12)
    meta = replace(meta, targets=meta.targets % 3)
    teacher.observe(meta)
    mean = meta.features["deep"].mean(dim=0)
    votes = KNeighborsClassifier(7, metric="cosine", algorithm="brute").fit(
        (meta.features["deep"] - mean).numpy(), meta.targets.numpy()
    )
    shares = votes.predict_proba((state.features["deep"] - mean).numpy())
    entropy = -(shares * np.log(np.maximum(shares, FLOOR))).sum(axis=1)
    given = np.hstack([shares, np.zeros((200, 47))])[np.arange(200), state.targets]
    vote = np.clip(np.log(np.maximum(given, FLOOR)) + entropy, -CLIP, CLIP)
    torch.testing.assert_close(
        teacher.score(state), own + 0.7 * torch.from_numpy(vote), rtol=1e-9, atol=1e-12
    )


def test_a_sentence_has_the_mean_over_its_words_and_what_its_neighbours_translations_say():
    teacher = build_teacher("evidence", sentence_spec(dtype=DOUBLE))
    state = sentence_state(9, dtype=DOUBLE)
    words = torch.distributions.Categorical(logits=state.outputs)
    each = (words.log_prob(state.targets) + words.entropy()).clamp(-CLIP, CLIP)
    expected = torch.stack([row[real].mean() for row, real in zip(each, state.real, strict=True)])
    torch.testing.assert_close(teacher.score(state), expected, rtol=1e-9, atol=1e-12)
    votes = build_teacher("knn", sentence_spec(dtype=DOUBLE))
    for one in (teacher, votes):
        one.observe(sentence_state(30, seed=1, dtype=DOUBLE))
    nearer = teacher.score(state) > expected
    assert 0 < int(nearer.sum()) < 9
    assert torch.equal(2.0 * nearer, votes(state).float())


def test_what_it_cannot_do_is_said_when_it_is_built():
    with pytest.raises(ValueError, match=r"got 0 and 0\.5"):
        build_teacher("evidence", class_spec(), k=0)
