"""Rules of torch's recurrent layers, which give several outputs: LSTM, GRU and the plain ones.

Their kernels keep what happened inside to themselves and have no second derivative. So the states are
made again, by the kernel, but for those that are an output; the gates from these, all steps at once.
Then one goes backward through time from the gradients of the outputs: by what arrives at the gates, each
weight's share is that of a linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.engines.ghost.output import FunctionRule, NoRuleError, Output, Parts, data
from metaweight.engines.ghost.rows import BLOCKS, SECOND, Rows
from metaweight.engines.ghost.shares import LinearWeight, PerUnit
from metaweight.engines.ghost.sources import Source


@dataclass(frozen=True)
class Weights:
    """Of one layer in one direction, as torch has them: W_ih, W_hh and, or not, b_ih, b_hh."""

    whole: Sequence[Any]
    """Tensors, and a ``Source`` for each function of parameters."""

    def __getitem__(self, number: int) -> Tensor:
        value = self.whole[number]
        tensor: Tensor = value.like if isinstance(value, Source) else value
        return tensor

    def of_inputs(self, x: Tensor) -> Tensor:
        """[T, B, inputs] -> [T, B, gates H]."""
        return F.linear(x, self[0], self[2] if len(self.whole) > 2 else None)

    def of_state(self, h: Tensor) -> Tensor:
        """[T, B, H] -> [T, B, gates H]."""
        return F.linear(h, self[1], self[3] if len(self.whole) > 2 else None)

    def states(self, function: Callable[..., Any], x: Tensor, start: Sequence[Tensor]) -> Tensor:
        """After each step [T, B, H], by the kernel."""
        begin = [value[None] for value in start]
        whole = [self[number] for number in range(len(self.whole))]
        hx = begin[0] if len(begin) == 1 else begin
        states: Tensor = function(x, hx, whole, len(whole) > 2, 1, 0.0, False, False, False)[0]
        return states

    def parts(self, x: Tensor, before: Tensor, gates: Gates, rows: Rows) -> Parts:
        """``before``: the states that the steps began with [T, B, H]."""
        makers: Sequence[Callable[[], LinearWeight | PerUnit]] = (
            partial(_matrix, x, gates.of_inputs, rows),
            partial(_matrix, before, gates.of_state, rows),
            partial(_bias, gates.of_inputs, rows),
            partial(_bias, gates.of_state, rows),
        )
        for value, make in zip(self.whole, makers, strict=False):
            if isinstance(value, Source):
                yield value, make


class Gates(NamedTuple):
    """What arrives where inputs and states have been multiplied, [T, B, gates H] each."""

    of_inputs: Tensor
    of_state: Tensor


Back: TypeAlias = Callable[[Tensor, Sequence[Tensor]], Gates]
"""From the gradients of the states after each step [T, B, H], and of what is left at the end [B, H] each."""


def lstm_back(weights: Weights, x: Tensor, before: Tensor, after: Tensor, start: Sequence[Tensor]) -> Back:
    """Hochreiter and Schmidhuber (1997), gates in torch's order: input, forget, cell, output."""
    i, f, g, o = (weights.of_inputs(x) + weights.of_state(before)).chunk(4, dim=2)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cells, new = [start[1]], i * g
    for kept, added in zip(f, new, strict=True):
        cells.append(torch.addcmul(added, kept, cells[-1]))
    cell = torch.stack(cells)
    bent = cell[1:].tanh()
    to_cell, by_state = o * (1 - bent * bent), bent * o * (1 - o)
    by_cell = torch.stack([new * (1 - i), cell[:-1] * f * (1 - f), i * (1 - g * g)], dim=2)

    def back(arrived: Tensor, left: Sequence[Tensor]) -> Gates:
        dh, dc = left
        gates = arrived.new_empty(*arrived.shape[:2], 4, arrived.shape[2])
        for t in reversed(range(len(arrived))):
            dh = dh + arrived[t]
            dc = torch.addcmul(dc, dh, to_cell[t])
            torch.mul(by_cell[t], dc[:, None], out=gates[t, :, :3])
            torch.mul(by_state[t], dh, out=gates[t, :, 3])
            dh, dc = gates[t].flatten(1) @ weights[1], dc * f[t]
        return Gates(gates.flatten(2), gates.flatten(2))

    return back


def gru_back(weights: Weights, x: Tensor, before: Tensor, after: Tensor, start: Sequence[Tensor]) -> Back:
    """Cho et al. (2014), gates in torch's order: reset, update, new."""
    in_r, in_z, in_n = weights.of_inputs(x).chunk(3, dim=2)
    of_r, of_z, of_n = weights.of_state(before).chunk(3, dim=2)
    r, z = (in_r + of_r).sigmoid(), (in_z + of_z).sigmoid()
    n = torch.addcmul(in_n, r, of_n).tanh()
    to_n = (1 - z) * (1 - n * n)
    to_r, to_z = to_n * of_n * r * (1 - r), (before - n) * z * (1 - z)
    of_inputs, of_state = (torch.stack([to_r, to_z, last], dim=2) for last in (to_n, to_n * r))

    def back(arrived: Tensor, left: Sequence[Tensor]) -> Gates:
        (dh,), along = left, torch.empty_like(arrived)
        for t in reversed(range(len(arrived))):
            torch.add(dh, arrived[t], out=along[t])
            dh = torch.addmm(along[t] * z[t], (of_state[t] * along[t, :, None]).flatten(1), weights[1])
        spread = along[:, :, None]
        return Gates((of_inputs * spread).flatten(2), (of_state * spread).flatten(2))

    return back


def plain_back(
    slope: Callable[[Tensor], Tensor],
    weights: Weights,
    x: Tensor,
    before: Tensor,
    after: Tensor,
    start: Sequence[Tensor],
) -> Back:
    """Elman (1990); ``slope`` of what bends the states, by what it gave."""

    def back(arrived: Tensor, left: Sequence[Tensor]) -> Gates:
        through, (dh,), gates = slope(after), left, torch.empty_like(arrived)
        for t in reversed(range(len(arrived))):
            torch.mul(dh + arrived[t], through[t], out=gates[t])
            dh = gates[t] @ weights[1]
        return Gates(gates, gates)

    return back


CellBack: TypeAlias = Callable[[Weights, Tensor, Tensor, Tensor, Sequence[Tensor]], Back]
"""By inputs [T, B, inputs], states before and after each step [T, B, H], and what the first began with."""


@dataclass(frozen=True)
class Layer:
    """One layer in one direction, in the order of its time."""

    weights: Weights
    x: Tensor
    """[T, B, inputs]."""
    before: Tensor
    """[T, B, H]."""
    after: Tensor
    back: Back


def recurrent(
    function: Callable[..., Any],
    back: CellBack,
    made: Tensor | None,
    outputs: Sequence[Output | None],
    input: Any,
    hx: Any,
    params: Sequence[Any],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool = False,
) -> Parts:
    """Arguments as torch.lstm and its kin take them; a packed batch and projected states have no rule.

    ``outputs``: None for one that has no say in the loss.
    """
    reached = [None if output is None else output.layout for output in outputs]
    known = next(output for output in outputs if output is not None)
    units, kind = known.units, known.delta.dtype
    starts = [data(value) for value in (hx if isinstance(hx, tuple | list) else (hx,))]
    x, directions, each = data(input), 1 + bidirectional, 4 if has_biases else 2
    wanted = [BLOCKS if batch_first else SECOND, *[SECOND] * len(starts)]
    misplaced = any(layout not in (None, fit) for layout, fit in zip(reached, wanted, strict=False))
    batch = x.shape[0 if batch_first else 1] if x.dim() == 3 else -1
    if (
        x.dim() != 3
        or (dropout and train and num_layers > 1)
        or len(params) != each * num_layers * directions
        or len(outputs) != len(wanted)
        or (units > 1 and (misplaced or batch % units))
    ):
        raise NoRuleError
    x = _by_time(x, batch_first, kind)
    starts, rows = [value.to(kind) for value in starts], Rows(len(x), units)
    last = made if made is None else _by_time(made, batch_first, kind)
    layers: list[list[Layer]] = []
    for number in range(0, num_layers * directions, directions):
        layers.append([])
        for direction in range(directions):
            own = Weights(params[each * (number + direction) : each * (number + direction + 1)])
            begin = [value[number + direction] for value in starts]
            along = _turned(x, direction)
            if last is not None and number + directions == len(params) // each:
                after = _turned(last.chunk(directions, dim=2)[direction], direction)
            else:
                after = own.states(function, along, begin)
            before = torch.cat([begin[0][None], after[:-1]])
            layers[-1].append(Layer(own, along, before, after, back(own, along, before, after, begin)))
        x = torch.cat([_turned(layer.after, d) for d, layer in enumerate(layers[-1])], dim=2)
    top, *ends = (None if output is None else output.delta.to(kind) for output in outputs)
    above = torch.zeros_like(x) if top is None else _by_time(top, batch_first, kind)
    left = [torch.zeros_like(v) if e is None else e for v, e in zip(starts, ends, strict=True)]
    for number, pair in reversed(list(enumerate(layers))):
        below = []
        for direction, (layer, part) in enumerate(zip(pair, above.chunk(directions, dim=2), strict=True)):
            end = [value[number * directions + direction] for value in left]
            gates = layer.back(_turned(part, direction), end)
            yield from layer.weights.parts(layer.x, layer.before, gates, rows)
            if number:
                below.append(_turned(gates.of_inputs @ layer.weights[0], direction))
        above = torch.stack(below).sum(0) if number else above


def _by_time(values: Tensor, batch_first: bool, kind: torch.dtype) -> Tensor:
    """[T, B, ...]."""
    return (values.transpose(0, 1) if batch_first else values).to(kind)


def _turned(values: Tensor, direction: int) -> Tensor:
    """In the order of time [T, ...] of a layer that goes forward (0) or backward."""
    return values.flip(0) if direction else values


def _matrix(inputs: Tensor, arrived: Tensor, rows: Rows) -> LinearWeight:
    return LinearWeight(inputs.reshape(-1, inputs.shape[2]), arrived.flatten(0, 1), rows)


def _bias(arrived: Tensor, rows: Rows) -> PerUnit:
    return PerUnit(rows.per_unit(arrived, arrived.shape[2:]))


_CELLS: Mapping[Any, CellBack] = {
    torch.lstm: lstm_back,
    torch.gru: gru_back,
    torch.rnn_tanh: partial(plain_back, lambda h: 1 - h * h),
    torch.rnn_relu: partial(plain_back, lambda h: (h > 0).to(h)),
}
SEQUENCE_RULES: Mapping[Any, FunctionRule] = {
    function: partial(recurrent, function, back) for function, back in _CELLS.items()
}
"""See ``recurrent``: they see the first output where it is still as it was made, and all outputs."""
