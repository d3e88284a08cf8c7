"""Parts at the seams that a user's own model brings: hooks, state, checkpoints, routes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from engines.property.parts import WIDTH, Of, Part
from students import Outside
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Checkpointed(Of):
    """A part that the backward computes again."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__(nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.2), nn.Tanh()))
        self.reentrant = reentrant

    def forward(self, h: Tensor) -> Tensor:
        return checkpoint(self.layer, h, use_reentrant=self.reentrant)


class ForwardHooked(Of):
    """Hooks change what a layer takes and gives."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH))
        self.layer.register_forward_pre_hook(_halved_input)
        self.layer.register_forward_hook(_bent_output)


def _halved_input(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(0.5 * value for value in inputs)


def _bent_output(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + torch.sin(output)


class GradientHooked(Of):
    """The gradient of a parameter is changed on its way; ``late``: once it is summed up."""

    def __init__(self, late: bool) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH))
        self.late = late
        self.attach()

    def attach(self) -> None:
        weight = self.layer.weight
        if self.late:
            weight.register_post_accumulate_grad_hook(_shrink_summed)
        else:
            weight.register_hook(_shrunk)


def _shrunk(gradient: Tensor) -> Tensor:
    return 0.3 * gradient


def _shrink_summed(parameter: Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.mul_(0.3)


class BackwardHooked(Of):
    """A full backward hook, which looks on or changes what goes back."""

    def __init__(self, changes: bool) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH))
        self.layer.register_full_backward_hook(_shrunk_inputs if changes else _look_on)


def _look_on(_layer: nn.Module, _inputs: object, _outputs: object) -> None:
    return None


def _shrunk_inputs(_layer: nn.Module, inputs: tuple[Tensor | None, ...], _outputs: object) -> object:
    return tuple(None if g is None else 0.3 * g for g in inputs)


class Complex(Part):
    """A complex matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(WIDTH, WIDTH, dtype=torch.complex128) / 2)

    def forward(self, h: Tensor) -> Tensor:
        out = h.to(torch.complex128) @ self.matrix
        return out.real + out.imag**2


class InPlace(Part):
    """Operations in place, on a whole tensor, a slice and a view."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, h: Tensor) -> Tensor:
        out = torch.sin(self.first(h))
        out[:, 0] = out[:, 0] * 0.5
        out = self.second(out).add_(0.1)
        out.view(-1).mul_(0.7)
        return out.tanh_()


class Routed(Part):
    """Each row goes to one of two layers, by its values."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(WIDTH, 1)
        self.experts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(2))

    def forward(self, h: Tensor) -> Tensor:
        rows = h.flatten(0, 1)
        strength = self.gate(rows).squeeze(-1)
        out = torch.zeros_like(rows)
        for expert, chosen in zip(self.experts, (strength < 0, strength >= 0), strict=True):
            out[chosen] = expert(rows[chosen]) * strength[chosen, None].sigmoid()
        return out.view_as(h)


class Queue(Part):
    """Rows of earlier passes in a buffer, which each pass assigns anew."""

    one_step = True

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("rows", torch.randn(5, WIDTH, dtype=torch.float64))

    def forward(self, h: Tensor) -> Tensor:
        keys = self.layer(h)
        seen = (keys @ self.rows.t()).softmax(-1) @ self.rows
        if self.training:
            self.rows = torch.cat([keys.detach().mean(1), self.rows])[:5]
        return keys + seen


class Annealed(Part):
    """A counter of passes, in a buffer, that the temperature follows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def forward(self, h: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        return self.layer(h) / (1 + 0.3 * self.passes)


class Averaged(Part):
    """A moving average of a layer in frozen parameters, which each pass moves after it has read it."""

    one_step = True

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.average = nn.Linear(WIDTH, WIDTH).requires_grad_(False)

    def forward(self, h: Tensor) -> Tensor:
        # a clone, for the backward wants the values that the pass has read
        out = self.layer(h) + 0.5 * h @ self.average.weight.clone() + self.average.bias.clone()
        if self.training:
            with torch.no_grad():
                for mean, now in zip(self.average.parameters(), self.layer.parameters(), strict=True):
                    mean.lerp_(now, 0.4)
        return out


class Attribute(Part):
    """A counter of passes in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.passes = 0

    def forward(self, h: Tensor) -> Tensor:
        self.passes += self.training
        return self.layer(h) / (1 + 0.3 * self.passes)

    def memory(self) -> Tensor:
        return torch.tensor(self.passes)


class Kernel(Of):
    """A layer whose backward is computed outside autograd."""

    def forward(self, h: Tensor) -> Tensor:
        return Outside.apply(self.layer(h))


class Mixing(Of):
    """Rows of the batch are mixed, where that is on."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, WIDTH))
        self.on = False

    def switch(self, on: bool) -> None:
        self.on = on

    def forward(self, h: Tensor) -> Tensor:
        h = self.layer(h)
        return 0.5 * (h + h[torch.randperm(len(h))]) if self.on else h


ODD: dict[str, Callable[[], Part]] = {
    "checkpoint": lambda: Checkpointed(reentrant=False),
    "reentrant checkpoint": lambda: Checkpointed(reentrant=True),
    "forward hooks": ForwardHooked,
    "gradient hook": lambda: GradientHooked(late=False),
    "post-accumulate hook": lambda: GradientHooked(late=True),
    "backward hook": lambda: BackwardHooked(changes=False),
    "backward hook that changes": lambda: BackwardHooked(changes=True),
    "complex": Complex,
    "in place": InPlace,
    "routing": Routed,
    "queue": Queue,
    "counter in a buffer": Annealed,
    "average in frozen parameters": Averaged,
    "counter in an attribute": Attribute,
    "backward outside autograd": lambda: Kernel(nn.Linear(WIDTH, WIDTH)),
    "mixing": Mixing,
}
