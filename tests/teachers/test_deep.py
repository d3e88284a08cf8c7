from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metaweight.teachers import build_teacher
from metaweight.teachers.inputs import HiddenProjection

DOUBLE = torch.float64


def wander(teacher, seed=0):
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.add_(0.4 * torch.randn(parameter.shape, generator=g, dtype=parameter.dtype))
    return teacher


def test_the_projection_is_blind_to_the_scale_of_the_states():
    project = HiddenProjection(6, 3).double()
    states = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    torch.testing.assert_close(project(1e4 * states), project(states), rtol=0, atol=1e-4)  # LayerNorm's eps
    assert bool(project(torch.zeros(2, 6)).isfinite().all())


@pytest.mark.parametrize("name", ["mlp", "attention"])
def test_the_product_finds_a_wrong_label_that_the_surface_cannot_see(name, make_spec, make_state):
    """The state's side says which of two labels is right, and nothing else does."""
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    units, labels = 256, torch.arange(256) % 2
    right = torch.randint(2, (units,), generator=g)
    side = torch.randn(units, 8, generator=g)
    side[:, 3] = 2.0 * (2 * right - 1)
    state = make_state(
        units,
        classes=2,
        targets=labels,
        outputs=torch.zeros(units, 2),
        loss=torch.ones(units),
        features={"a": side},
    )
    teacher = build_teacher(name, make_spec({"a": 8}, classes=2))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    good = (labels == right).float()
    for _ in range(60):
        optimizer.zero_grad()
        # the centred hypergradient of such a sample: down for a good one, up for a wrong one
        (teacher(state) * (0.5 - good)).mean().backward()
        optimizer.step()
    weights = teacher(state).detach()
    assert float(weights[good == 1].min()) > float(weights[good == 0].max())


def test_mlp_reads_surface_state_products_and_their_sum(make_spec, make_state):
    teacher, state = (
        wander(build_teacher("mlp", make_spec(dtype=DOUBLE), projection=3)),
        make_state(9, dtype=DOUBLE),
    )
    surface, own = teacher.surface(state), teacher.project(state.features["deep"])
    weights = teacher(state)
    for i, y in enumerate(state.targets.tolist()):
        products = [own[i, j] * teacher.label.weight[y, j] for j in range(3)]
        parts = [*own[i], *products, sum(products)]
        seen = torch.stack([*surface[i], *(part / 3**0.5 for part in parts)])
        torch.testing.assert_close(weights[i], teacher.head(seen[None])[0], rtol=1e-12, atol=0)


def test_mlp_reads_the_deepest_tap_alone(make_spec, make_state):
    teacher, state = wander(build_teacher("mlp", make_spec())), make_state()
    moved = dict(state.features, low=state.features["low"] + 1)
    assert torch.equal(teacher(state), teacher(replace(state, features=moved)))
    moved = dict(state.features, deep=state.features["deep"].flip(0))
    assert not torch.equal(teacher(state), teacher(replace(state, features=moved)))


def test_mlp_on_all_layers_reads_each_for_itself_the_deepest_first(make_spec, make_state):
    teacher = wander(build_teacher("mlp", make_spec(dtype=DOUBLE), projection=3, layers=0))
    state = make_state(9, dtype=DOUBLE)
    assert teacher.taps == ("deep", "middle", "low")
    parts, label = [teacher.surface(state)], teacher.label(state.targets)
    for tap, project in zip(teacher.taps, [teacher.project, *teacher.deeper], strict=True):
        own = project(state.features[tap])
        parts.append(torch.cat([own, own * label, (own * label).sum(1, keepdim=True)], dim=1) / 3**0.5)
    expected = teacher.head(torch.cat(parts, dim=1))
    torch.testing.assert_close(teacher(state), expected, rtol=1e-12, atol=0)
    assert build_teacher("mlp", make_spec(), layers=2).taps == ("deep", "middle")
    with pytest.raises(ValueError, match=r"layers is 0 \(all\) to 3, the student's taps, got 4"):
        build_teacher("mlp", make_spec(), layers=4)


@pytest.mark.parametrize("name", ["mlp", "attention"])
def test_without_the_label_only_the_loss_tells_of_it(name, make_spec, make_state):
    teacher, state = wander(build_teacher(name, make_spec(), label=False)), make_state(9)
    scalars = teacher.surface.scalars
    teacher.surface.scalars = lambda state, log_p: scalars(state, log_p) * 0
    weights = teacher(state)
    assert float(weights.detach().std()) > 0.01  # the states still tell samples apart
    assert torch.equal(weights, teacher(replace(state, targets=(state.targets + 1) % 4)))
    labelled = wander(build_teacher(name, make_spec()))
    labelled.surface.scalars = teacher.surface.scalars
    assert not torch.equal(labelled(state), labelled(replace(state, targets=(state.targets + 1) % 4)))


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention_is_torchs_scaled_dot_product_attention(heads, make_spec, make_state):
    teacher = wander(build_teacher("attention", make_spec(dtype=DOUBLE), heads=heads, projection=8))
    state = make_state(9, dtype=DOUBLE)
    query = teacher.query(teacher.surface(state))
    plain = torch.stack([p(f) for p, f in zip(teacher.project, state.features.values(), strict=True)], 1)
    products = plain * teacher.label(state.targets)[:, None]
    own = plain + teacher.layer.weight
    keys = teacher.key(torch.cat([own, products], dim=2))

    def by_head(x):
        return x.reshape(9, -1, heads, 8 // heads).transpose(1, 2)

    context, agreement = (
        F.scaled_dot_product_attention(by_head(query), by_head(keys), by_head(v))
        .transpose(1, 2)
        .reshape(9, 8)
        for v in (own, products)
    )
    bilinear = agreement.sum(1, keepdim=True) / 8**0.5
    seen = torch.cat([query, context / 8**0.5, agreement / 8**0.5, bilinear], dim=1)
    expected = teacher.head(seen)
    torch.testing.assert_close(teacher(state), expected, rtol=1e-12, atol=1e-14)


def test_the_attention_map_is_a_distribution_over_the_taps(make_spec, make_state):
    teacher, state = wander(build_teacher("attention", make_spec(), heads=4)), make_state(20)
    shares = teacher.attention_map(state).detach()
    assert shares.shape == (20, 3)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(20))
    assert float(shares.std(dim=1).max()) > 0.01
    assert teacher.last_attention() == {"low": 0.0, "middle": 0.0, "deep": 0.0}
    teacher(state)
    assert sum(teacher.last_attention().values()) == 0
    teacher.track(state)
    assert not teacher.layer_share.requires_grad
    assert list(teacher.last_attention()) == ["low", "middle", "deep"]
    assert list(teacher.last_attention().values()) == pytest.approx(shares.mean(dim=0).tolist())


def test_attention_goes_to_the_layer_whose_key_answers_the_query(make_spec, make_state):
    teacher = build_teacher("attention", make_spec(), heads=1, projection=4)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
        teacher.query.bias.fill_(1.0)
        teacher.key.weight[:, :4] = torch.eye(4)
        teacher.layer.weight[1] = 20.0
    torch.testing.assert_close(teacher.attention_map(make_state(2)), torch.tensor([[0.0, 1, 0]] * 2))


def test_widths_that_the_heads_do_not_divide_are_refused(make_spec):
    with pytest.raises(ValueError, match="projection=10, heads=4"):
        build_teacher("attention", make_spec(), projection=10, heads=4)
