"""Accuracy and confusion against scikit-learn."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix

from metaweight.training.evaluation import accuracy, confusion


def sample():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(83, 5, generator=generator), torch.randint(4, (83,), generator=generator)


def test_accuracy_is_scikit_learns() -> None:
    outputs, targets = sample()
    expected = 100 * accuracy_score(targets.numpy(), outputs.argmax(1).numpy())
    assert accuracy(outputs, targets) == pytest.approx(expected, rel=1e-15)
    assert accuracy(torch.eye(3), torch.tensor([0, 1, 0])) == 100 * 2 / 3


def test_confusion_is_scikit_learns() -> None:
    outputs, targets = sample()  # class 4 is predicted but never a target
    expected = confusion_matrix(targets.numpy(), outputs.argmax(1).numpy(), labels=range(5))
    assert confusion(outputs, targets).tolist() == expected.tolist()


def test_a_row_with_nan_is_wrong_even_where_argmax_hits() -> None:
    outputs = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    assert accuracy(outputs, torch.tensor([0, 0])) == 50.0


@pytest.mark.parametrize("shapes", [((3, 2), (2,)), ((3,), (3,)), ((0, 2), (0,)), ((3, 2), (3, 1))])
def test_other_shapes_are_refused(shapes) -> None:
    outputs, targets = torch.zeros(shapes[0]), torch.zeros(shapes[1], dtype=torch.int64)
    for metric in (accuracy, confusion):
        with pytest.raises(ValueError, match=r"outputs are \[N, C\]"):
            metric(outputs, targets)
