"""Engine ``ghost``: bare parameters that meet the batch in all ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from ghost_parts import UNITS, Parts, batch, flat
from ghost_proof import prove
from torch import Tensor, nn

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

X = batch(UNITS, 1).inputs[0]


class Quantised(torch.autograd.Function):
    """Rounds; its backward passes the gradient on."""

    @staticmethod
    def forward(_ctx: object, value: Tensor) -> Tensor:
        return (value * 8).round() / 8

    @staticmethod
    def backward(_ctx: object, grad: Tensor) -> Tensor:
        return grad * 1.5


def sentences(x: Tensor) -> Tensor:
    """[U, 6, 8]: as many places as units."""
    return x.flatten(1).view(-1, 6, 8)


def token(m: Parts, x: Tensor) -> Tensor:
    hidden = torch.cat([m.p[:1].expand(len(x), 1, 8), sentences(x), sentences(x) * m.p[1:7]], dim=1)
    return flat((hidden * m.q).tanh())


def token_first(m: Parts, x: Tensor) -> Tensor:
    hidden = sentences(x).transpose(0, 1)  # [T, U, 8]
    hidden = torch.cat([m.p[:2, None].expand(2, len(x), 8), hidden * m.p[2:, None]])
    return flat((hidden * m.q + m.p[:, None]).tanh().transpose(0, 1))


def batch_into_parameters(m: Parts, x: Tensor) -> Tensor:
    hidden = m.p[None].repeat(len(x), 1, 1)
    hidden[:, 2:] = sentences(x) * m.q
    hidden[:, 0].mul_(x.flatten(1)[:, :8])
    hidden[:, 1] += m.q
    return flat(hidden.sin())


def written_into(m: Parts, x: Tensor) -> Tensor:
    hidden = sentences(x) * 1
    hidden[:, 2] = m.p[0]
    hidden[x.flatten(1)[:, :6] > 0.5] = m.q
    return flat(hidden.sin())


def in_place(m: Parts, x: Tensor) -> Tensor:
    hidden = sentences(x).sin()
    hidden += m.p[:6]
    hidden.mul_(m.q)
    hidden[:, 1].add_(m.q)
    return flat(hidden.sin())


def rms(m: Parts, x: Tensor) -> Tensor:
    hidden = sentences(x)
    return flat((hidden * hidden.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt() * (1 + m.q)).sin())


def normed_weight(m: Parts, x: Tensor) -> Tensor:
    weight = m.p / m.p.norm(dim=1, keepdim=True) * m.q
    return flat((sentences(x) @ weight.t()).sin())


def quantised(m: Parts, x: Tensor) -> Tensor:
    return flat((sentences(x) * Quantised.apply(m.q)).sin())


def penalised(m: Parts, x: Tensor) -> Tensor:
    return F.linear(x.flatten(1)[:, :8], m.p)[:, :5].sin() + (m.q.square().sum() + m.p.norm())


def hidden_from_torch(m: Parts, x: Tensor) -> Tensor:
    """The batch as plain numbers: it has no mark, and the whole student is a function of parameters."""
    return flat((torch.tensor(sentences(x).tolist(), dtype=x.dtype) @ m.p.t() * m.q).sin())


def mixed_by_shape(m: Parts, x: Tensor) -> Tensor:
    like = x.new_zeros(6, 8)
    return flat((sentences(x) * (like + m.q) * m.p.to(like).type_as(x)[0]).sin())


def einsum(m: Parts, x: Tensor) -> Tensor:
    return flat(torch.einsum("utd,od,d->uto", sentences(x), m.p, m.q).sin())


def of_the_batch(m: Parts, x: Tensor) -> Tensor:
    """A weight for each unit."""
    weight = torch.stack([m.p * (n + 1) for n in range(len(x))])
    return flat(torch.bmm(sentences(x), weight.transpose(1, 2)).sin() + m.q)


def on_queries(m: Parts, x: Tensor) -> Tensor:
    query = m.a(m.p[None])  # a layer on a parameter
    return flat(
        F.scaled_dot_product_attention(query.expand(len(x), -1, -1), sentences(x), sentences(x)) * m.q
    )


def biased_attention(m: Parts, x: Tensor) -> Tensor:
    s = sentences(x)[:, None]
    return flat(F.scaled_dot_product_attention(s, s * m.q, s, attn_mask=m.p[None, None, :6, :6]))


def divided(m: Parts, x: Tensor) -> Tensor:
    return flat((m.q / (2 + sentences(x).square())).sin() - (m.p[0] - sentences(x)) / m.q)


def added_with_alpha(m: Parts, x: Tensor) -> Tensor:
    return flat(
        torch.add(sentences(x), m.q, alpha=3).sin() - torch.sub(m.p[1], sentences(x), alpha=0.5).cos()
    )


def multiplied(m: Parts, x: Tensor) -> Tensor:
    rows = x.flatten(1).view(-1, 8)
    return flat((torch.addmm(m.q, rows, m.p.t()) + rows.mm(m.p.t()) + m.p.mv(m.q)).view(len(x), -1).sin())


def with_parameters(
    call: Callable[[Parts, Tensor], Tensor], **layers: Callable[[], nn.Module]
) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        module = Parts(call, **{name: layer() for name, layer in layers.items()})
        module.p, module.q = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.randn(8))
        return module

    return make


KINDS: dict[str, Callable[[], nn.Module]] = {
    "token": with_parameters(token),
    "token-first": with_parameters(token_first),
    "in-place": with_parameters(in_place),
    "batch-into-parameters": with_parameters(batch_into_parameters),
    "written-into": with_parameters(written_into),
    "rms": with_parameters(rms),
    "normed-weight": with_parameters(normed_weight),
    "quantised": with_parameters(quantised),
    "penalised": with_parameters(penalised),
    "hidden-from-torch": with_parameters(hidden_from_torch),
    "mixed-by-shape": with_parameters(mixed_by_shape),
    "einsum": with_parameters(einsum),
    "of-the-batch": with_parameters(of_the_batch),
    "on-queries": with_parameters(on_queries, a=lambda: nn.Linear(8, 8)),
    "biased-attention": with_parameters(biased_attention),
    "divided": with_parameters(divided),
    "added-with-alpha": with_parameters(added_with_alpha),
    "multiplied": with_parameters(multiplied),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_its_per_sample_gradients(kind: str) -> None:
    torch.manual_seed(4)
    prove(KINDS[kind]().double(), (X,), per_class)


def mixed(m: Parts, x: Tensor) -> Tensor:
    return ((x + 0j) @ m.p).real.sin() + (x * m.q[:, 0]).imag


def test_complex_parameters() -> None:
    torch.manual_seed(4)
    module = Parts(lambda m, x: flat(mixed(m, sentences(x)))).double()
    module.p = nn.Parameter(torch.randn(8, 8, dtype=torch.complex128))
    module.q = nn.Parameter(torch.randn(8, 2, dtype=torch.complex128))
    prove(module, (X,), per_class)


def per_class(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets % 3, reduction="none")
