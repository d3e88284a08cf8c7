"""Engine ``ghost``: layers without a rule of their own, and uses of layers that rules do not see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from ghost_parts import UNITS, Parts, batch, flat, grown, in_eval, words
from ghost_proof import prove
from torch import Tensor, nn
from torch.nn.utils import parametrizations

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

X = batch(UNITS, 1).inputs[0]


class Own(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight * 2, self.bias)


def own_forward() -> nn.Module:
    layer = nn.Linear(48, 5)
    layer.forward = lambda x: F.linear(x, 2 * layer.weight, layer.bias)
    return layer


def tanh(m: Parts, x: Tensor) -> Tensor:
    return flat(m.a(x.flatten(1)).tanh())


def on_images(m: Parts, x: Tensor) -> Tensor:
    return flat(m.a(x).tanh())


def in_time(m: Parts, x: Tensor) -> Tensor:
    return flat(m.a(x.flatten(2)).tanh())


def on_words(m: Parts, x: Tensor) -> Tensor:
    return flat(m.a(words(x)).tanh())


def sentences(x: Tensor) -> Tensor:
    """[U, 6, 8]: as many places as units."""
    return x.flatten(1).view(-1, 6, 8)


def with_positions(*shape: int) -> Callable[[Parts, Tensor], Tensor]:
    def call(m: Parts, x: Tensor) -> Tensor:
        hidden = m.a(words(x))
        return flat((hidden + m.b(torch.arange(hidden.shape[1]).view(*shape, -1))).tanh())

    return call


def table_as_parameter(m: Parts, x: Tensor) -> Tensor:
    first = m.a.weight[:1, None].expand(len(x), 1, 8)
    return flat(torch.cat([first, sentences(x)], 1) + m.a.weight[2:].sin())


def bag(**options: object) -> Callable[[Parts, Tensor], Tensor]:
    def call(m: Parts, x: Tensor) -> Tensor:
        ids = words(x)
        if options.get("offsets"):
            ends = torch.tensor([0, 3, 3, 50, 60, 99])
            return flat(m.a(ids.flatten(), ends).tanh())
        weights = x.flatten(1)[:, :20] if options.get("weights") else None
        return flat(m.a(ids, per_sample_weights=weights).tanh())

    return call


def prelu(m: Parts, x: Tensor) -> Tensor:
    return flat(m.a(x - 0.3))


def layer(
    call: Callable[[Parts, Tensor], Tensor], **layers: Callable[[], nn.Module]
) -> Callable[[], nn.Module]:
    return lambda: Parts(call, **{name: make() for name, make in layers.items()})


def tied_under_a_norm() -> nn.Module:
    module = Parts(
        lambda m, x: flat(m.out(m.table(words(x)).tanh())),
        table=nn.Embedding(7, 5),
        out=parametrizations.weight_norm(nn.Linear(5, 7)),
    )
    module.out.parametrizations.weight.original1 = module.table.weight
    return module


KINDS: dict[str, Callable[[], nn.Module]] = {
    "positions-flat": layer(with_positions(), a=lambda: nn.Embedding(7, 5), b=lambda: nn.Embedding(20, 5)),
    "positions-row": layer(with_positions(1), a=lambda: nn.Embedding(7, 5), b=lambda: nn.Embedding(20, 5)),
    "conv-1d": layer(in_time, a=lambda: nn.Conv1d(3, 6, 3, groups=3, dilation=2, padding=1)),
    "conv-3d": layer(lambda m, x: flat(m.a(x[:, None])), a=lambda: nn.Conv3d(1, 4, 2, stride=(1, 2, 1))),
    "conv-1d-same": layer(in_time, a=lambda: nn.Conv1d(3, 4, 4, padding="same")),
    "conv-function-same": layer(
        lambda m, x: flat(F.conv2d(x, m.a.weight * 2, m.a.bias, padding="same")), a=lambda: nn.Conv2d(3, 4, 3)
    ),
    "conv-transposed-1d": layer(in_time, a=lambda: nn.ConvTranspose1d(3, 4, 3, stride=2, output_padding=1)),
    "conv-transposed-2d": layer(
        on_images, a=lambda: nn.ConvTranspose2d(3, 6, (2, 3), stride=2, groups=3, padding=(0, 1), dilation=2)
    ),
    "conv-transposed-3d": layer(lambda m, x: flat(m.a(x[:, None])), a=lambda: nn.ConvTranspose3d(1, 2, 2)),
    "instance-norm": layer(on_images, a=lambda: grown(nn.InstanceNorm2d(3, affine=True))),
    "instance-norm-eval": layer(
        on_images, a=lambda: in_eval(nn.InstanceNorm2d(3, affine=True, track_running_stats=True))
    ),
    "batch-norm-3d-eval": layer(
        lambda m, x: flat(m.a(x[:, :, None]).sin()), a=lambda: in_eval(nn.BatchNorm3d(3))
    ),
    "rms-norm": layer(on_images, a=lambda: grown(nn.RMSNorm((4, 4)))),
    "rms-norm-function": layer(
        lambda m, x: flat(F.rms_norm(x, (4,), m.a.weight + 1)), a=lambda: grown(nn.RMSNorm(4))
    ),
    "norms-as-functions": layer(
        lambda m, x: flat(
            F.layer_norm(x, (4,), m.a.weight * 2, m.a.bias + 1).sin()
            + F.group_norm(x, 3, m.b.weight * 2, m.b.bias + 1)
            + F.batch_norm(x, x.new_zeros(3), x.new_ones(3), m.b.weight * 3, m.b.bias * 2)
        ),
        a=lambda: grown(nn.LayerNorm(4)),
        b=lambda: grown(nn.GroupNorm(3, 3)),
    ),
    "bilinear": layer(lambda m, x: flat(m.a(x[:, 0], x[:, 1]).sin()), a=lambda: nn.Bilinear(4, 4, 5)),
    "prelu": layer(prelu, a=lambda: nn.PReLU(3)),
    "bag-mean": layer(bag(), a=lambda: nn.EmbeddingBag(7, 5, padding_idx=2)),
    "bag-sum": layer(bag(), a=lambda: nn.EmbeddingBag(7, 5, mode="sum")),
    "bag-weights": layer(bag(weights=True), a=lambda: nn.EmbeddingBag(7, 5, mode="sum", padding_idx=1)),
    "bag-offsets": layer(bag(offsets=True), a=lambda: nn.EmbeddingBag(7, 5)),
    "gru": layer(lambda m, x: flat(m.a(sentences(x))[0]), a=lambda: nn.GRU(8, 5, 2, batch_first=True)),
    "gru-time-first": layer(
        lambda m, x: flat(m.a(sentences(x).transpose(0, 1))[1].transpose(0, 1)), a=lambda: nn.GRU(8, 5, 2)
    ),
    "lstm-dropout": layer(
        lambda m, x: flat(m.a(sentences(x))[0]),
        a=lambda: nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True, dropout=0.4),
    ),
    "rnn-cell": layer(lambda m, x: flat(m.a(x[:, 0, 0], m.a(x[:, 0, 1]))), a=lambda: nn.RNNCell(4, 5)),
    "subclass": layer(tanh, a=lambda: Own(48, 5)),
    "own-forward": layer(tanh, a=own_forward),
    "weight-norm": layer(tanh, a=lambda: parametrizations.weight_norm(nn.Linear(48, 5))),
    "weight-norm-old": layer(in_time, a=lambda: parametrizations.weight_norm(nn.Conv1d(3, 4, 2))),
    "orthogonal": layer(tanh, a=lambda: parametrizations.orthogonal(nn.Linear(48, 5))),
    "spectral-norm-eval": layer(tanh, a=lambda: parametrizations.spectral_norm(nn.Linear(48, 5)).eval()),
    "pruned": layer(tanh, a=lambda: nn.utils.prune.random_unstructured(nn.Linear(48, 5), "weight", 0.3)),
    "tied-under-a-norm": tied_under_a_norm,
    "other-use": layer(
        lambda m, x: F.linear(m.a(words(x)).mean(1).tanh(), m.a.weight)[:, :5], a=lambda: nn.Embedding(7, 5)
    ),
    "past-its-call": layer(
        lambda m, x: nn.Linear.forward(m.a, x.flatten(1)).tanh(), a=lambda: nn.Linear(48, 5)
    ),
    "time-first": layer(
        lambda m, x: m.a(sentences(x).transpose(0, 1)).tanh().mean(0), a=lambda: nn.Linear(8, 5)
    ),
    "rows-of-times": layer(
        lambda m, x: m.a(sentences(x).transpose(0, 1).flatten(0, 1)).view(6, -1, 5).tanh().mean(0),
        a=lambda: nn.Linear(8, 5),
    ),
    "no-batch": layer(
        lambda m, x: m.a(torch.ones(1, 4).to(x)) + x.flatten(1)[:, :5].sin(), a=lambda: nn.Linear(4, 5)
    ),
    "table-as-parameter": layer(table_as_parameter, a=lambda: nn.Embedding(9, 8)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_its_per_sample_gradients(kind: str) -> None:
    torch.manual_seed(4)
    prove(KINDS[kind]().double(), (X,), per_class)


def per_class(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets % 3, reduction="none")
