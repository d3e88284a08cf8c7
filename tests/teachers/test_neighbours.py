from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from metaweight.teachers import build_teacher
from metaweight.teachers.trusted import TrustedStates


def rows(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_trusted_states_hold_the_newest_and_let_the_oldest_go():
    trusted = TrustedStates(1, capacity=5)
    assert len(trusted) == 0
    trusted.put(rows(1, 2, 3), torch.tensor([0, 1, 2]), torch.tensor([10, 20, 30]))
    trusted.put(rows(4, 5, 6), torch.tensor([3, 0, 1]), torch.tensor([40, 50, 60]))
    states, targets = trusted.held()
    assert states.flatten().tolist() == [4, 5, 6, 1, 2]
    assert targets.tolist() == [3, 0, 1, 0, 1]
    trusted.put(rows(*range(10, 17)), torch.zeros(7, dtype=torch.int64), torch.arange(7))
    assert len(trusted) == 5
    assert trusted.held()[0].flatten().tolist() == [10, 11, 12, 13, 14]


def test_a_trusted_sample_seen_again_replaces_its_older_state():
    trusted = TrustedStates(1, capacity=8)
    trusted.put(rows(1, 2, 3), torch.tensor([0, 1, 2]), torch.tensor([10, 20, 30]))
    trusted.put(rows(9, 4), torch.tensor([1, 3]), torch.tensor([20, 40]))
    states, targets = trusted.held()
    assert states.flatten().tolist() == [9, 4, 1, 3]
    assert targets.tolist() == [1, 3, 0, 2]
    # index 0 of an empty row is not a sample of that number
    trusted.put(rows(7), torch.tensor([2]), torch.tensor([0]))
    assert len(trusted) == 5


def test_trusted_states_are_saved_with_their_count():
    trusted, fresh = TrustedStates(2, capacity=4), TrustedStates(2, capacity=4)
    trusted.put(torch.ones(3, 2), torch.arange(3), torch.arange(3))
    fresh.load_state_dict(trusted.state_dict())
    assert len(fresh) == 3
    assert all(torch.equal(a, b) for a, b in zip(trusted.held(), fresh.held(), strict=True))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_knn_votes_as_scikit_learn_does(k, make_spec, make_state):
    teacher = build_teacher("knn", make_spec(classes=3, dtype=torch.float64), k=k)
    meta = make_state(80, seed=1, classes=3, dtype=torch.float64)
    state = make_state(60, seed=2, classes=3, dtype=torch.float64)
    assert torch.equal(teacher(state), torch.ones(60, dtype=torch.float64))
    teacher.observe(meta)
    mean = meta.features["deep"].mean(dim=0)
    votes = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(
        (meta.features["deep"] - mean).numpy(), meta.targets.numpy()
    )
    shares = torch.from_numpy(votes.predict_proba((state.features["deep"] - mean).numpy()))
    own = shares[torch.arange(60), state.targets]
    expected = 2 * (own == shares.amax(dim=1)).double()
    assert 0 < float(expected.mean()) < 2
    assert torch.equal(teacher(state), expected)


def test_knn_with_fewer_trusted_states_than_k_asks_all(make_spec, make_state):
    teacher = build_teacher("knn", make_spec(), k=10)
    teacher.observe(make_state(3, seed=1, targets=torch.tensor([2, 2, 0])))
    state = make_state(4, targets=torch.tensor([0, 1, 2, 2]))
    assert teacher(state).tolist() == [0, 0, 2, 2]


def test_options_out_of_range_are_refused(make_spec):
    with pytest.raises(ValueError, match="k, the number of neighbours, is 1 or more, got 0"):
        build_teacher("knn", make_spec(), k=0)
    with pytest.raises(ValueError, match="1 trusted state or more, got capacity=0"):
        build_teacher("knn", make_spec(), capacity=0)
