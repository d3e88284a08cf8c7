"""Where modules that nobody described have their last hidden states."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metaweight as mw
from metaweight.integrations.last_hidden import described, last_hidden

POINTS, WORDS, MAPS = torch.randn(5, 4), torch.randint(20, (5, 7)), torch.randn(5, 1, 8, 8)


class Functional(nn.Module):
    """Its activations have no name."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.beside = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.second(F.relu(self.first(x))))
        logits = self.head(hidden)
        self.beside(hidden)
        return logits


class Repeated(nn.Module):
    """One layer twice: which of both a tap reads is not for us to say."""

    def __init__(self) -> None:
        super().__init__()
        self.once, self.twice, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.twice(self.twice(self.once(x))))


class Recurrent(nn.Module):
    """Hidden states over time alone."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.steps, self.head = nn.Embedding(20, 6), nn.GRU(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.steps(self.words(x))[0][:, -1])


def layers(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(*parts)


@pytest.mark.parametrize(
    ("module", "x", "found"),
    [
        (layers(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), POINTS, ("1",)),
        (layers(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)), POINTS, ("1",)),
        (layers(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)), MAPS, ("2",)),
        (layers(nn.EmbeddingBag(20, 6), nn.Linear(6, 3), nn.Softplus()), WORDS, ("0",)),
        (Functional(), POINTS, ("second",)),
        (Repeated(), POINTS, ("once",)),
        (Recurrent(), WORDS, ()),
        (nn.Linear(4, 3), POINTS, ()),
        (layers(nn.Conv2d(1, 3, 8), nn.Flatten()), MAPS, ()),
    ],
)
def test_the_last_hidden_layer_is_found(module: nn.Module, x: Tensor, found: tuple[str, ...]) -> None:
    batch = mw.Batch((x,), torch.zeros(len(x), dtype=torch.int64), torch.arange(len(x)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    drawn = torch.get_rng_state()
    assert last_hidden(mw.Student(module), batch) == found
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())
    student = described(module, batch)
    assert set(student.glance(batch).features) == set(found)
    assert described(student, batch) is student
