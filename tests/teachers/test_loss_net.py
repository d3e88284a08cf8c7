from __future__ import annotations

import itertools

import pytest
import torch

from metaweight.teachers import build_teacher
from metaweight.teachers.loss_net import class_groups, kmeans_line


def scatter_within(points, groups):
    return sum(
        float((points[groups == g] - points[groups == g].mean()).square().sum()) for g in set(groups.tolist())
    )


@pytest.mark.parametrize("k", [1, 2, 3])
def test_kmeans_on_a_line_finds_the_best_of_all_partitions(k):
    for seed in range(3):
        points = torch.randn(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        every = (torch.tensor(g) for g in itertools.product(range(k), repeat=6))
        best = min(scatter_within(points, groups) for groups in every)
        found = kmeans_line(points, k)
        assert sorted(set(found.tolist())) == list(range(k))
        assert scatter_within(points, found) == pytest.approx(best, rel=1e-9)
        by_value = found[points.argsort()]
        assert torch.equal(by_value, by_value.sort().values)


def test_class_groups_follow_the_size():
    assert class_groups((5000, 4800, 60, 50, 600, 5), 3).tolist() == [2, 2, 1, 1, 2, 0]
    assert class_groups((9, 9, 9), 3).tolist() == [0, 0, 0]
    assert class_groups((7, 7, 100, 7), 3).tolist() == [0, 0, 1, 0]
    assert class_groups((0, 1, 100), 2).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="groups=0"):
        class_groups((1, 2), 0)


def test_mw_net_is_the_papers_mlp_on_the_scaled_loss(make_spec, make_state):
    teacher = build_teacher("mw-net", make_spec(dtype=torch.float64), normalize="none")
    assert sum(p.numel() for p in teacher.parameters()) == 301  # 1-100-1 with biases
    state = make_state(9, dtype=torch.float64)
    with torch.no_grad():
        teacher.head.output.weight.normal_()
    net = torch.nn.Sequential(teacher.head.hidden, torch.nn.ReLU(), teacher.head.output, torch.nn.Sigmoid())
    seen = torch.log(1 + state.loss) / torch.log(1 + torch.tensor(4.0, dtype=torch.float64).log()) - 1
    torch.testing.assert_close(teacher(state), 2 * net(seen[:, None]).squeeze(1), rtol=1e-12, atol=0)


def test_cmw_net_weighs_each_group_with_its_own_output(make_spec, make_state):
    teacher = build_teacher("cmw-net", make_spec(class_counts=(1000, 100, 10, 10)), normalize="none")
    assert teacher.group.tolist() == [2, 1, 0, 0]
    with torch.no_grad():
        teacher.head.output.bias.copy_(torch.tensor([-3.0, 0.0, 3.0]))
    weights = teacher(make_state(4, targets=torch.arange(4)))
    torch.testing.assert_close(weights, 2 * torch.tensor([3.0, 0.0, -3.0, -3.0]).sigmoid())
    assert build_teacher("cmw-net", make_spec()).head.output.out_features == 1


def test_l2rw_keeps_what_helps_and_rescales_it_to_mean_one(make_spec, make_state):
    teacher = build_teacher("l2rw", make_spec())
    assert not teacher.centered
    assert torch.equal(teacher(make_state(3)), torch.ones(3))
    helps = teacher.from_hypergradient(torch.tensor([-1e-6, 2.0, -3e-6, 0.0]))
    torch.testing.assert_close(helps, torch.tensor([1.0, 0, 3, 0]))
    assert torch.equal(teacher.from_hypergradient(torch.tensor([1.0, 0.0])), torch.zeros(2))


def test_a_loss_teacher_works_where_there_are_no_classes(make_spec, make_state):
    teacher = build_teacher("mw-net", make_spec(classes=1))
    state = make_state(
        3, loss=torch.tensor([-2.0, 0.0, 5.0]), outputs=torch.zeros(3, 1), targets=torch.zeros(3)
    )
    assert bool(teacher(state).isfinite().all())
