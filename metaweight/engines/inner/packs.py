"""Small parameters whose numbers each move by themselves, laid end to end: one update for many."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from torch import Tensor
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from metaweight.engines.inner.rules import Options, State, Update

Named = Mapping[str, Tensor]
PACK, DEVICE_PACK = 2**16, 2**20
"""Numbers in a pack at most, on a CPU and elsewhere: with fewer an operation is longer started than done."""


def packs(names: Iterable[str], kinds: Mapping[str, Hashable], values: Named) -> Iterator[list[str]]:
    """``names`` in their order, those of one kind that follow on each other together; None is no kind."""
    pack: list[str] = []
    size = 0
    for name in names:
        own, kind = values[name].numel(), kinds[name]
        if pack and (kind is None or kind != kinds[pack[0]] or size + own > _limit(values[name])):
            yield pack
            pack, size = [], 0
        pack.append(name)
        size += own
    if pack:
        yield pack


def kind_of(parameter: Tensor, gradient: Tensor, state: State) -> Hashable:
    """What parameters of one group share that can be laid end to end; None for one that cannot."""
    small = 0 < parameter.numel() <= _limit(parameter) // 2  # an empty one, of a shard, has no place in a row
    if not small or not parameter.is_contiguous() or parameter.dim() == 0:
        return None  # of a number by itself nobody could tell the states from others
    step = state.get("step", 0.0)
    others = {key: value for key, value in state.items() if key != "step"}
    counted = not isinstance(step, Tensor) or step.numel() == 1
    if not counted or not all(isinstance(v, Tensor) and v.shape == parameter.shape for v in others.values()):
        return None
    types = [parameter.dtype, gradient.dtype, *(value.dtype for value in others.values())]
    return parameter.device, tuple(types), tuple(state), float(step)


def moved(
    names: Sequence[str],
    parameters: Named,
    gradients: Named,
    states: Mapping[str, State],
    update: Update,
    options: Options,
) -> dict[str, Tensor]:
    """The parameters of a pack after ``update``, by name: views of one tensor."""
    first = states[names[0]]
    state = {
        key: value if key == "step" else _flatten_dense_tensors([states[name][key] for name in names])
        for key, value in first.items()
    }
    here = [parameters[name] for name in names]
    flat = [_flatten_dense_tensors(here), _flatten_dense_tensors([gradients[name] for name in names])]
    successor, _ = update(flat[0], flat[1], state, options)
    return dict(zip(names, _unflatten_dense_tensors(successor, here), strict=True))


def _limit(value: Tensor) -> int:
    return PACK if value.device.type == "cpu" else DEVICE_PACK
