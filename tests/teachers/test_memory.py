from __future__ import annotations

import math

import pytest
import torch
from torch.func import functional_call

from metaweight.teachers import build_teacher
from metaweight.teachers.memory import label_agreement, word_agreement

DOUBLE = torch.float64


def ready(make_spec, make_state, **options):
    teacher = build_teacher("memory", make_spec(dtype=DOUBLE), **options)
    teacher.observe(make_state(30, seed=1, dtype=DOUBLE))
    return teacher


def test_the_label_distribution_is_the_softmax_of_cosines_to_trusted_states(make_spec, make_state):
    teacher = ready(make_spec, make_state, temperature=7.0)
    meta, state = make_state(30, seed=1, dtype=DOUBLE), make_state(5, dtype=DOUBLE)
    centre = meta.features["deep"].mean(dim=0)
    cosine = torch.nn.CosineSimilarity(dim=0)
    temperature = float(teacher.log_temperature.exp().detach())
    assert temperature == pytest.approx(7.0, rel=1e-6)  # the parameter is made in float32
    for i in range(5):
        mass = [0.0] * 4
        for j in range(30):
            near = cosine(state.features["deep"][i] - centre, meta.features["deep"][j] - centre)
            mass[int(meta.targets[j])] += math.exp(temperature * float(near))
        expected = [m / sum(mass) for m in mass]
        assert teacher.label_distribution(state)[i].tolist() == pytest.approx(expected, rel=1e-9)


def test_a_trusted_sample_of_its_own_finds_its_label(make_spec, make_state):
    teacher = ready(make_spec, make_state, temperature=100.0)
    meta = make_state(30, seed=1, dtype=DOUBLE)
    assert torch.equal(teacher.label_distribution(meta).argmax(dim=1), meta.targets)


def test_agreement_features_by_hand():
    q = torch.tensor([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]], dtype=DOUBLE)
    seen = label_agreement(q, torch.tensor([1, 0]))
    entropy = -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2)) / math.log(3)
    assert seen[0].tolist() == pytest.approx([0.3, -0.2, 1 + math.log(0.3) / math.log(3), entropy])
    assert seen[1].tolist() == pytest.approx([0.0, -1.0, -3.0, 0.0])


def test_agreement_read_at_the_labels_that_are_held_is_that_over_all_classes():
    g = torch.Generator().manual_seed(2)
    scores, held = torch.randn(8, 6, generator=g, dtype=DOUBLE), torch.tensor([3, 1, 3, 8, 1, 3])
    labels = torch.tensor([3, 1, 8, 0, 11, 3, 1, 3])
    slope, found = torch.randn(8, 4, generator=g, dtype=DOUBLE), []
    for read in (
        lambda a: label_agreement(a @ torch.nn.functional.one_hot(held, 12).to(a), labels),
        lambda a: word_agreement(a, held, labels, 12),
    ):
        leaf = scores.clone().requires_grad_()
        seen = read((4 * leaf).softmax(dim=1))
        found.append((seen.detach(), *torch.autograd.grad(seen, leaf, slope)))
    for there, here in zip(*found, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-12, atol=1e-13)


def test_before_anything_was_observed_agreement_is_zero(make_spec, make_state):
    teacher = build_teacher("memory", make_spec())
    with torch.no_grad():
        teacher.head.output.weight.normal_(generator=torch.Generator().manual_seed(0))
    state = make_state()
    blank = torch.cat([teacher.surface(state), torch.zeros(12, 4)], dim=1)
    assert torch.equal(teacher(state), teacher.head(blank))
    with pytest.raises(ValueError, match="observe"):
        teacher.label_distribution(state)


def test_the_projection_starts_as_the_identity_or_keeps_angles_of_a_subspace(make_spec):
    narrow = build_teacher("memory", make_spec({"a": 16}))
    assert torch.equal(narrow.project.weight, torch.eye(16))
    wide = build_teacher("memory", make_spec({"a": 200}), projection=50).project.weight
    torch.testing.assert_close(wide @ wide.T, torch.eye(50), rtol=0, atol=1e-5)


def test_gradients_of_projection_and_temperature_agree_with_central_differences(make_spec, make_state):
    teacher, state = ready(make_spec, make_state), make_state(8, dtype=DOUBLE)
    with torch.no_grad():
        teacher.head.output.weight.normal_(generator=torch.Generator().manual_seed(0))

    def weigh(project, log_temperature):
        moved = {"project.weight": project, "log_temperature": log_temperature}
        return functional_call(teacher, moved, (state,))

    assert torch.autograd.gradcheck(weigh, (teacher.project.weight, teacher.log_temperature))


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_scale_of_the_hidden_states_does_not_matter_in_float32(scale, make_spec, make_state):
    near, far = build_teacher("memory", make_spec()), build_teacher("memory", make_spec())
    meta, state = make_state(20, seed=1), make_state(6)

    def rescaled(one):
        return {tap: value * scale for tap, value in one.features.items()}

    near.observe(meta)
    far.observe(make_state(20, seed=1, features=rescaled(meta)))
    torch.testing.assert_close(
        far.label_distribution(make_state(6, features=rescaled(state))), near.label_distribution(state)
    )


def test_one_trusted_sample_or_many_equal_ones_give_finite_weights(make_spec, make_state):
    for units in (1, 5):
        teacher = build_teacher("memory", make_spec())
        same = {tap: value[:1].expand(units, -1) for tap, value in make_state().features.items()}
        teacher.observe(make_state(units, features=same))
        with torch.no_grad():
            teacher.head.output.weight.fill_(0.1)
        weights = teacher(make_state(7))
        assert bool(weights.isfinite().all())
        (weights * torch.arange(7)).sum().backward()
        assert all(bool(p.grad.isfinite().all()) for p in teacher.parameters())


def test_options_that_are_not_positive_are_refused(make_spec):
    with pytest.raises(ValueError, match="got 0 and 10"):
        build_teacher("memory", make_spec(), projection=0)
    with pytest.raises(ValueError, match="got 128 and -1"):
        build_teacher("memory", make_spec(), temperature=-1)
    with pytest.raises(ValueError, match="capacity=0"):
        build_teacher("memory", make_spec(), capacity=0)
