"""The parts that random students are built from: ordinary layers, [U, T, D] -> [U, T, D], all smooth.

Smooth, for central differences across a kink would measure the kink.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

WIDTH, LENGTH, WORDS, CLASSES = 4, 3, 8, 3


class Part(nn.Module):
    """What a student is built from."""

    one_step: ClassVar[bool] = False
    """Whether what it keeps from a pass follows the parameters without a gradient: of several steps, central
    differences would then ask for another number than the one that autograd defines."""

    def attach(self) -> None:
        """Put on the hooks that a deep copy loses, those on tensors."""

    def switch(self, on: bool) -> None:
        """Turn on what only some batches go through."""

    def memory(self) -> Tensor:
        """What it keeps from pass to pass beside parameters and buffers."""
        return torch.zeros(())


class Of(Part):
    """One layer over the last dimension."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, h: Tensor) -> Tensor:
        out = self.layer(h)
        return out[0] if isinstance(out, tuple) else out


class Channels(Of):
    """One layer over [U, D, T]."""

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(h.transpose(1, 2)).transpose(1, 2)


class Rows(Of):
    """One layer over [U * T, D]."""

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(h.flatten(0, 1)).view_as(h)


class OwnNorm(Part):
    """An RMSNorm as model code writes it, with a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH) + 0.1 * torch.randn(WIDTH))

    def forward(self, h: Tensor) -> Tensor:
        return self.weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-2))


class Spectral(Of):
    """A first singular value far from the second: the vectors converge, so autograd's constants are right.

    Once, for a second derivative would have to know how they move.
    """

    one_step = True

    def __init__(self) -> None:
        layer = nn.Linear(WIDTH, WIDTH).double()
        with torch.no_grad():
            layer.weight.mul_(0.2).add_(torch.outer(torch.randn(WIDTH), torch.randn(WIDTH)).sign())
        super().__init__(parametrizations.spectral_norm(layer, n_power_iterations=12))


class Written(Part):
    """Attention written out, or by torch's function."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.into, self.out, self.fused = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), fused

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.into(h).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            seen = F.scaled_dot_product_attention(q, k, v)
        else:
            seen = (q @ k.transpose(-1, -2)).div(2).softmax(-1) @ v
        return self.out(seen.transpose(1, 2).flatten(2))


class Heads(Part):
    """torch's own attention layer, either way round."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first)

    def forward(self, h: Tensor) -> Tensor:
        h = h if self.batch_first else h.transpose(0, 1)
        out = self.attention(h, h, h, need_weights=self.batch_first)[0]
        return out if self.batch_first else out.transpose(0, 1)


class Cell(Part):
    """A recurrent cell in a loop."""

    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell = kind(WIDTH, WIDTH)

    def forward(self, h: Tensor) -> Tensor:
        state, states = None, []
        for one in h.unbind(1):
            state = self.cell(one, state)
            states.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(states, dim=1)


class Backwards(Part):
    """A recurrent layer that runs over time first, both ways."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(WIDTH, WIDTH // 2, bidirectional=True)

    def forward(self, h: Tensor) -> Tensor:
        return self.rnn(h.transpose(0, 1))[0].transpose(0, 1)


class Tied(Part):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.second.weight = self.first.weight

    def forward(self, h: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(h)))


class Twice(Part):
    """One layer, called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, h: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(h)))


class Bare(Part):
    """Parameters of no layer: a matrix, a scale, a shift for each position."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(WIDTH, WIDTH) / 2)
        self.scale = nn.Parameter(torch.ones(WIDTH))
        self.places = nn.Parameter(torch.randn(1, LENGTH, WIDTH) / 2)

    def forward(self, h: Tensor) -> Tensor:
        return (h + self.places[:, : h.shape[1]]) @ self.matrix * self.scale


class Frozen(Part):
    """A frozen layer before a trainable one."""

    def __init__(self) -> None:
        super().__init__()
        self.still, self.moving = nn.Linear(WIDTH, WIDTH).requires_grad_(False), nn.Linear(WIDTH, WIDTH)

    def forward(self, h: Tensor) -> Tensor:
        return self.moving(torch.tanh(self.still(h)))


def _encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, 2, 6, dropout=0.1, batch_first=True, activation="gelu")


class WeighedGRU(Of):
    """A recurrent layer one of whose matrices is computed anew in each pass; torch cannot deep-copy it."""

    def __init__(self) -> None:
        layer = nn.GRU(WIDTH, WIDTH, batch_first=True)
        super().__init__(parametrizations.weight_norm(layer, "weight_hh_l0"))

    def __deepcopy__(self, memo: dict[int, object]) -> WeighedGRU:
        with torch.random.fork_rng(devices=[]):  # a copy that draws would shift the masks of its first pass
            twin = WeighedGRU().double()
        twin.load_state_dict(self.state_dict())
        for own, other in zip(self.parameters(), twin.parameters(), strict=True):
            other.requires_grad_(own.requires_grad)
        return twin.train(self.training)


LAYERS: dict[str, Callable[[], Part]] = {
    "linear": lambda: Of(nn.Linear(WIDTH, WIDTH)),
    "bare": Bare,
    "convolution": lambda: Channels(nn.Conv1d(WIDTH, WIDTH, 3, padding=1)),
    "grouped convolution": lambda: Channels(nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=2)),
    "transposed convolution": lambda: Channels(nn.ConvTranspose1d(WIDTH, WIDTH, 3, padding=1)),
    "batch norm": lambda: Channels(nn.BatchNorm1d(WIDTH)),
    "batch norm of rows": lambda: Rows(nn.BatchNorm1d(WIDTH)),
    "layer norm": lambda: Of(nn.LayerNorm(WIDTH)),
    "group norm": lambda: Channels(nn.GroupNorm(2, WIDTH)),
    "instance norm": lambda: Channels(nn.InstanceNorm1d(WIDTH, affine=True, track_running_stats=True)),
    "RMS norm": lambda: Of(nn.RMSNorm(WIDTH)),
    "RMS norm by hand": OwnNorm,
    "spectral norm": Spectral,
    "weight norm": lambda: Of(parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH))),
    "attention by hand": lambda: Written(fused=False),
    "fused attention": lambda: Written(fused=True),
    "MultiheadAttention": lambda: Heads(batch_first=True),
    "MultiheadAttention, time first": lambda: Heads(batch_first=False),
    "TransformerEncoderLayer": lambda: Of(_encoder_layer()),
    "RNN": lambda: Of(nn.RNN(WIDTH, WIDTH, batch_first=True)),
    "GRU": lambda: Of(nn.GRU(WIDTH, WIDTH, batch_first=True)),
    "LSTM": lambda: Of(nn.LSTM(WIDTH, WIDTH, batch_first=True)),
    "LSTM both ways": Backwards,
    "GRU with weight norm": WeighedGRU,
    "RNNCell": lambda: Cell(nn.RNNCell),
    "GRUCell": lambda: Cell(nn.GRUCell),
    "LSTMCell": lambda: Cell(nn.LSTMCell),
    "tied": Tied,
    "called twice": Twice,
    "frozen": Frozen,
    "dropout": lambda: Of(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.4))),
}
