"""Engine ``ghost``: every sample's inner product from what one backward leaves at the layers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import CheckpointError

from metaweight.core.contracts import MetaweightError
from metaweight.core.submodules import submodules
from metaweight.core.weakly import PerObject
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import GradientAt, Recorded, registry
from metaweight.engines.checks import EngineError, couples, described, first_line
from metaweight.engines.ghost.calls import ELSEWHERE, LayerCalls, Places, covers, ruled
from metaweight.engines.ghost.contacts import Part
from metaweight.engines.ghost.layers import unsupported
from metaweight.engines.ghost.low_rank import Coarse, Direction
from metaweight.engines.ghost.sharded import ShardedShares
from metaweight.engines.ghost.sources import Derived, Key
from metaweight.engines.one_step import Differentiated, OneStep, TrainPass
from metaweight.student.student import Named, Student


@registry.register("ghost")
class Ghost(OneStep):
    """The inner products layer by layer: a layer is affine in its parameters, so unit i's share is
    (delta_i * layer(a_i; u)).sum() for its input a_i and delta_i = d loss_i / d output_i.

    One backward of the unweighted loss down to the layers' outputs gives all delta_i; the gradient at any
    weights and the slopes are one matrix product a layer each.  No second-order graph, no second pass;
    about 2.5 plain steps with ``online``.  Where parameters meet the batch in another way, that one call is
    differentiated both ways, after every torch call of the pass has been followed; a student whose layers
    all have rules is followed in its first batch only.  Refuses batches that couple their samples.
    Goodfellow (2015), arXiv 1510.01799, and the ghost products of Li et al. (2022), 2110.05679.
    """

    abilities = Abilities(
        coupled=False, tokens=False, written_out_attention=False, weighs_again=True, sharded=True
    )
    summary = "exact, one inner step; slopes from the layers' inputs and output gradients; no BatchNorm"
    suspicion = "a part uses its parameters where torch does not show it, or couples the samples of a batch"
    advice = ELSEWHERE

    def __init__(self) -> None:
        super().__init__()
        # by module: (trainable parameters, layers with a rule) of batches that met the first in the second
        self._covered: PerObject[nn.Module, set[tuple[frozenset[str], frozenset[int]]]] = PerObject(set)
        self._places: PerObject[nn.Module, Places] = PerObject(dict)

    def keeping(self, student: Student) -> AbstractContextManager[LayerCalls]:
        """The calls in which parameters meet the batch."""
        if hasattr(student.loss, "_torchdynamo_orig_callable"):
            raise EngineError(
                f"engine 'ghost' follows torch calls one by one, which a compiled loss has not; {ELSEWHERE}"
            )
        module = student.module
        layers = ruled(module)
        known = (frozenset(student.parameters()), frozenset(map(id, layers))) in self._covered[module]
        follow = not known and student.compiled is None
        return LayerCalls(module, layers, _names(student), follow=follow).recorded()

    def differentiate(self, train: TrainPass, weights: Tensor) -> Shares | ShardedShares:
        """See ``OneStep``."""
        student, kept = train.student, train.recorded.kept
        if student.compiled is not None:
            raise EngineError(
                "the layers of a compiled student are not seen one by one; use engine='forward'"
            )
        if not isinstance(kept, LayerCalls):
            raise EngineError(
                "engine 'ghost' needs the train pass made inside keeping(engine, student), and its value "
                "as Recorded.kept"
            )
        if any(value.is_nested for value in tree_leaves(train.batch.inputs) if isinstance(value, Tensor)):
            raise EngineError(f"engine 'ghost' has no rows for nested tensors; {ELSEWHERE}, or pad them")
        if train.recorded.forward.units.each_token:
            raise EngineError(
                "engine 'ghost' has no slopes for tokens: those of a sentence share its activations; "
                f"{ELSEWHERE}, or unit='sentence'"
            )
        _refuse(student.module)
        try:
            parts = kept.differences(
                train.loss,
                self._places[student.module],
                keep_graph=train.keep_graph,
                agreed=bool if student.sharded is None else student.sharded.processes.any,
            )
        except CheckpointError as error:
            raise EngineError(
                "a checkpointed part adds a parameter to the batch in place, which engine 'ghost' cannot "
                f"follow ({first_line(error)}); write it without the underscore, or {ELSEWHERE}"
            ) from error
        except MetaweightError:
            raise
        except (RuntimeError, IndexError) as error:
            raise EngineError(
                f"engine 'ghost' finds no place for the rows of a call ({first_line(error)}): they may be "
                f"routed by values; {ELSEWHERE}"
            ) from error
        if not train.recorded.keep_graph:
            kept.calls.clear()
        if kept.follower is not None and kept.covered and covers(student.module):
            layers = frozenset(map(id, kept.layers))
            self._covered[student.module].add((frozenset(student.parameters()), layers))
        shares = Shares if student.sharded is None else ShardedShares
        return shares(parts, kept.names, train, weights)

    def signature(self, recorded: Recorded) -> Hashable:
        """See ``Engine``: in which calls parameters meet the batch, and how the units may lie in each."""
        calls, units = recorded.kept, len(recorded.forward.loss)
        if not isinstance(calls, LayerCalls):
            return None
        return tuple(
            (call.site, len(outcome.shape), _place(outcome.shape, units))
            for call in calls.calls
            for outcome in call.outcomes
        )


def _names(student: Student) -> Mapping[int, str]:
    """Of the trainable parameters by id, as a layer's call finds them."""
    if student.sharded is None:
        return {id(p): name for name, p in student.parameters().items()}
    return student.sharded.names


def _place(shape: torch.Size, units: int) -> int:
    """Rows of a unit in dimension 0; 0 where dimension 1 is the units', -1 where none is."""
    if len(shape) > 1 and shape[0] != units and shape[1] == units:
        return 0
    return shape[0] // units if len(shape) and shape[0] % units == 0 else -1


class Shares(Differentiated):
    """The train pass as what its calls give; holds their inputs and output gradients."""

    def __init__(
        self,
        parts: Sequence[Part],
        names: Mapping[int, str],
        train: TrainPass,
        weights: Tensor,
    ) -> None:
        self.parts, self.names, self.train = parts, names, train
        self.parameters = train.student.parameters()
        moved = {name: self.parameters[name] for name in names.values()}
        self.derived = Derived([s for part in self.parts for s in part.sources], moved)
        self.gradient = self.gradient_at(weights)

    @property
    def again(self) -> GradientAt:
        """See ``Differentiated``."""
        return self.gradient_at

    def gradient_at(self, weights: Tensor) -> dict[str, Tensor]:
        """Parameter name -> gradient of mean(weights * loss) over the joined batch, for any ``weights`` [U]
        here; no backward."""
        scale = weights.detach() / len(weights)
        total: dict[str, Tensor] = {}
        cotangents: dict[Key, Tensor] = {}
        with torch.no_grad():
            for part in self.parts:
                for source, gradient in part.gradients(scale):
                    if isinstance(source.key, int):
                        if source.key in self.names:
                            self._add(total, self.names[source.key], gradient)
                    elif source.key in cotangents:
                        cotangents[source.key] = cotangents[source.key] + gradient
                    else:
                        cotangents[source.key] = gradient
            for name, gradient in self.derived.pulled(cotangents).items():
                self._add(total, name, gradient)
        return self.train.whole(total)

    def _add(self, total: dict[str, Tensor], name: str, gradient: Tensor) -> None:
        gradient = gradient.to(self.parameters[name].dtype)
        total[name] = total[name] + gradient if name in total else gradient

    def slopes(self, direction: Named) -> Tensor:
        """See ``Differentiated``."""
        leaves = direction.leaves if isinstance(direction, Coarse) else direction
        directions: dict[Key, Direction] = {
            key: leaves[name] for key, name in self.names.items() if name in leaves
        }
        directions |= self.derived.pushed(direction)
        with torch.no_grad():
            slopes = [
                part.slopes(directions).to(self.train.loss.dtype)
                for part in self.parts
                if any(source.key in directions for source in part.sources)
            ]
            return torch.stack(slopes).sum(0)


def _refuse(module: nn.Module) -> None:
    """Raise EngineError for a part that couples samples, or whose gradient is no sum over them."""
    for _, part in submodules(module):
        if couples(part):
            raise EngineError(f"{described(module, part)} couples the samples of a batch; {ELSEWHERE}")
        if option := unsupported(part):
            raise EngineError(
                f"engine 'ghost' has no rule for {described(module, part)} with {option}; "
                "leave the option out"
            )
