"""Rules of recurrent layers against the reference, and what goes the general way."""

from __future__ import annotations

import pytest
import torch
from ghost_proof import prove
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

import metaweight as mw
from metaweight.engines.ghost import contacts

LENGTH, INPUTS, HIDDEN, UNITS = 6, 5, 4, 7
KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


class Reader(nn.Module):
    """[B, T, INPUTS] -> [B, 3]."""

    def __init__(self, kind: str, read: str = "all", *, batch_first: bool = True, **options: object) -> None:
        super().__init__()
        self.cell = KINDS[kind](INPUTS, HIDDEN, batch_first=batch_first, **options)
        self.read, self.batch_first = read, batch_first
        width = HIDDEN * (2 if read == "all" and self.cell.bidirectional else 1)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        states, end = self.cell(x if self.batch_first else x.transpose(0, 1))
        h, c = end if isinstance(end, tuple) else (end, None)
        if self.read == "all":
            return self.head(states.mean(dim=1 if self.batch_first else 0))
        return self.head(h[-1] if c is None else h[-1] + c[0])


class Packed(Reader):
    """The same on rows of two lengths."""

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.tensor([LENGTH] * 2 + [LENGTH - 2] * (len(x) - 2))
        _, end = self.cell(pack_padded_sequence(x, lengths, batch_first=True))
        return self.head((end[0] if isinstance(end, tuple) else end)[-1])


class Changed(Reader):
    """States that are changed in place after the call."""

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cell(x)
        return self.head(states.mul_(2).mean(dim=1))


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the calls that no rule was there for."""
    calls: list[str] = []
    replayed = contacts.Replayed

    def kept(contact: contacts.Contact, deltas: object) -> contacts.Replayed:
        calls.append(contact.function.__name__)
        return replayed(contact, deltas)

    monkeypatch.setattr(contacts, "Replayed", kept)
    return calls


def require_same(module: nn.Module, *, units: int = UNITS) -> None:
    g = torch.Generator().manual_seed(1)
    x = torch.randn(units, LENGTH, INPUTS, generator=g, dtype=torch.float64)
    prove(module, [x], tolerance=1e-12)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 3}, {"bidirectional": True, "num_layers": 2}, {"bias": False}],
    ids=["one", "layers", "both-ways", "no-bias"],
)
@pytest.mark.parametrize("read", ["all", "end"])
@pytest.mark.parametrize("kind", KINDS)
def test_slopes_are_those_of_autograd_and_a_rule_gives_them(
    kind: str, read: str, options: dict[str, object], batch_first: bool, general: list[str]
) -> None:
    torch.manual_seed(0)
    require_same(Reader(kind, read, batch_first=batch_first, **options).double())
    assert general == []


def test_a_relu_and_a_single_unit_and_frozen_weights_too(general: list[str]) -> None:
    torch.manual_seed(0)
    require_same(Reader("RNN", nonlinearity="relu").double())
    require_same(Reader("LSTM").double(), units=1)
    frozen = Reader("GRU", num_layers=2).double()
    frozen.cell.weight_hh_l0.requires_grad_(False)
    frozen.cell.bias_ih_l1.requires_grad_(False)
    require_same(frozen)
    assert general == []


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_states_that_were_changed_in_place_since_are_made_again(kind: str, general: list[str]) -> None:
    torch.manual_seed(0)
    require_same(Changed(kind).double())
    assert general == []


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_masks_between_layers_and_projected_states_go_the_general_way(kind: str, general: list[str]) -> None:
    torch.manual_seed(0)
    options = {"proj_size": HIDDEN - 1} if kind == "LSTM" else {"num_layers": 2, "dropout": 0.4}
    module = Reader(kind, **options).double()
    module.head = nn.Linear(HIDDEN - 1 if kind == "LSTM" else HIDDEN, 3).double()
    require_same(module)
    assert general == [kind.lower()]


def test_rows_of_several_lengths_are_refused_or_right() -> None:
    torch.manual_seed(0)
    with pytest.raises(mw.engines.EngineError, match="ghost"):
        require_same(Packed("GRU").double())
