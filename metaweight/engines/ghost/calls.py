"""The record of one pass: calls of layers with a rule, and where else parameters meet the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils._pytree import tree_flatten

from metaweight.core.submodules import submodules
from metaweight.engines.checks import EngineError, described
from metaweight.engines.ghost.contacts import Contact, Delta, Outcome, Part, Single
from metaweight.engines.ghost.follower import Follower, edge_of, source_of
from metaweight.engines.ghost.layers import OWN_RULES, RULES, has_rule
from metaweight.engines.ghost.rows import BLOCKS, Rows, layouts, misfit
from metaweight.engines.ghost.sources import Source
from metaweight.student.execution.replaced import replaced
from metaweight.student.sharded import is_part, kind_of

ELSEWHERE = "use engine='auto', 'forward' or 'higher'"
Places = dict[Hashable, str]
"""Site of a call -> the layout of the units in its output, as found in earlier batches."""


@dataclass(frozen=True)
class Call:
    """One call of a layer that has a rule, and where the gradient of its output will pass."""

    layer: nn.Module
    input: Tensor
    version: int
    outcomes: tuple[Outcome]
    slots: Mapping[str, Source]
    site: tuple[Any, ...]

    @property
    def sources(self) -> list[Source]:
        """The layer's trainable parameters."""
        return list(self.slots.values())

    @property
    def intact(self) -> bool:
        """Whether nobody has changed the input in place since."""
        return self.input._version == self.version

    def parts(self, deltas: Sequence[Delta | None]) -> Iterator[Part]:
        """What it gives, from the gradient of its output."""
        (delta,) = deltas
        assert delta is not None
        rows = Rows.of(delta.layout, delta.value.shape, delta.units)
        if kind_of(self.layer) in OWN_RULES:
            rule = OWN_RULES[kind_of(self.layer)](self.layer, self.input, delta.value, delta.units)
        else:
            rule = RULES[kind_of(self.layer)](self.layer, self.input, delta.value, rows)
        for slot, share in rule:
            if slot in self.slots:
                yield Single(self.slots[slot], share())


class LayerCalls:
    """The calls, in one pass, of layers that have a rule; with ``follow``, all other contacts too.

    ``names``: of the trainable parameters by id, as a layer's call finds them.
    """

    def __init__(
        self, module: nn.Module, layers: Sequence[nn.Module], names: Mapping[int, str], *, follow: bool
    ) -> None:
        self.module, self.layers, self.names = module, layers, names
        self.calls: list[Call | Contact] = []
        self.follower = Follower(names) if follow else None
        self.covered = True
        """Whether all parameters met the batch in calls of layers with a rule."""

    @contextmanager
    def recorded(self) -> Iterator[LayerCalls]:
        """Calls inside are kept."""
        names = {layer: name for name, layer in submodules(self.module)}
        seen: Counter[str] = Counter()
        follower = self.follower

        def keep(layer: nn.Module, input: Tensor) -> Tensor:
            if follower is not None and not follower.marks.of_batch(input):
                self.covered = False  # a function of parameters alone, such as the embeddings of positions
                output: Tensor = kind_of(layer).forward(layer, input)
                return output
            if follower is None:
                output = kind_of(layer).forward(layer, input)
            else:
                with torch._C.DisableTorchFunction():
                    output = kind_of(layer).forward(layer, input)
                follower.marks.mark(output)
            if output.requires_grad:
                name = names[layer]
                seen[name] += 1
                slots = {slot: source_of(p) for slot, p in _slots(layer) if p.requires_grad}
                self._require_known(layer, slots.values())
                outcome = Outcome(edge_of(output), output.shape)
                if follower is not None:
                    follower.marks.nodes.add(outcome.edge.node)
                    assert output.grad_fn is not None
                    follower.marks.nodes.add(output.grad_fn)
                call = Call(layer, input.detach(), input._version, (outcome,), slots, (name, seen[name]))
                self.calls.append(call)
            return output

        with replaced(self.layers, keep):
            if follower is None:
                yield self
                return
            hook = self.module.register_forward_pre_hook(
                lambda _module, args, kwargs: follower.marks.take((args, kwargs)),
                with_kwargs=True,
                prepend=not is_part(self.module),  # one in fully_shard casts its inputs first
            )
            try:
                with follower:
                    yield self
            finally:
                hook.remove()
                follower.marks.forget_inputs()
        self.calls += follower.contacts
        self.covered = self.covered and not follower.contacts and not follower.deferred

    def _require_known(self, layer: nn.Module, sources: Iterable[Source]) -> None:
        if any(source.edge is None and source.key not in self.names for source in sources):
            raise EngineError(
                f"{described(self.module, layer)} has a parameter now that is none of the student's: build "
                "the Student again where parameters have been exchanged"
            )

    @property
    def derived(self) -> bool:
        """Whether a function of parameters met the batch: its graph is a part of the loss's."""
        return any(source.edge is not None for call in self.calls for source in call.sources)

    def differences(
        self, loss: Tensor, places: Places, *, keep_graph: bool, agreed: Callable[[bool], bool]
    ) -> list[Part]:
        """The parts in the gradients of ``loss`` [U].

        One backward, down to the outputs of the calls only: no gradient of a parameter is computed in it.
        A second one, of the losses times different factors, where the place of the units in an output is
        not known from its shape or from ``places``, which remembers it.  ``agreed``: whether that is so in
        one of the processes that make a backward together.
        """
        units, names = len(loss), self.names
        calls = [call for call in self.calls if _concerns(call, names)]
        if self.follower is not None and self.follower.marks.of_parameters(loss):
            calls.append(of_loss(loss))
        if not calls:
            return []
        outcomes = [(call, number) for call in calls for number in range(len(call.outcomes))]
        edges = [call.outcomes[number].edge for call, number in outcomes]
        for call, number in outcomes:
            self._require_rows(call, call.outcomes[number], units)
        known = [self._known(call, number, units, places) for call, number in outcomes]
        ramp = torch.linspace(0.5, 1.5, units, dtype=loss.dtype, device=loss.device)
        others: Sequence[Tensor | None] = [None] * len(edges)
        if agreed(None in known):
            others = torch.autograd.grad(loss, edges, ramp, retain_graph=True, allow_unused=True)
        values = torch.autograd.grad(
            loss, edges, torch.ones_like(loss), retain_graph=keep_graph, allow_unused=True
        )
        deltas: dict[tuple[int, int], Delta | None] = {}
        with torch.no_grad():
            for (call, number), layout, value, other in zip(outcomes, known, values, others, strict=True):
                shape = call.outcomes[number].shape
                if value is None or value.numel() == 0:
                    deltas[id(call), number] = None
                    continue
                value = value.reshape(shape)
                if layout is None:
                    layout = self._found(call, number, value, other, ramp, places)
                deltas[id(call), number] = Delta(value, layout, units)
            parts: list[Part] = []
            for call in calls:
                own = [deltas[id(call), number] for number in range(len(call.outcomes))]
                if all(delta is None for delta in own):
                    continue
                self._require_intact(call)
                parts += [part for part in call.parts(own) if any(_moves(s, names) for s in part.sources)]
        return parts

    def _known(self, call: Call | Contact, number: int, units: int, places: Places) -> str | None:
        """The layout of an output, where its shape leaves one only or an earlier batch told it."""
        possible = layouts(call.outcomes[number].shape, units)
        place = places.get((call.site, number))
        if place in possible:
            return place
        if len(possible) > 1:
            return None
        if units > 1:
            places[call.site, number] = possible[0]
        return possible[0]

    def _found(
        self,
        call: Call | Contact,
        number: int,
        value: Tensor,
        other: Tensor | None,
        ramp: Tensor,
        places: Places,
    ) -> str:
        possible = layouts(value.shape, len(ramp))
        assert other is not None
        errors = {layout: misfit(layout, value, other.reshape(value.shape), ramp) for layout in possible}
        best = min(possible, key=lambda layout: errors[layout])
        if errors[best] > (1e-6 if value.dtype.itemsize >= 8 else 5e-2):
            raise EngineError(
                f"the calls of {self.label(call)} mix the samples of a batch, or do not hold their rows in "
                f"the batch's order; {ELSEWHERE}"
            )
        if max(errors.values()) > errors[best]:  # else the gradient is 0 and tells nothing
            places[call.site, number] = best
        return best

    def _require_rows(self, call: Call | Contact, outcome: Outcome, units: int) -> None:
        possible = layouts(outcome.shape, units)
        if isinstance(call, Call) and kind_of(call.layer) in OWN_RULES and possible[:1] != [BLOCKS]:
            possible = []
        if not possible:
            raise EngineError(
                f"{self.label(call)} gave shape {tuple(outcome.shape)} for {units} units: engine 'ghost' "
                f"needs the batch in dimension 0 or 1; {ELSEWHERE}"
            )

    def _require_intact(self, call: Call | Contact) -> None:
        if not call.intact:
            raise EngineError(
                f"the input of {self.label(call)} was changed in place after the call; "
                "write the change without the underscore"
            )

    def label(self, call: Call | Contact) -> str:
        """A call in a message."""
        if isinstance(call, Call):
            return described(self.module, call.layer)
        assert self.follower is not None
        owners = [self.follower.marks.names[s.key] for s in call.sources if isinstance(s.key, int)]
        name = call.site[0]
        if not owners:
            return f"{name}() on a function of parameters"
        part = described(self.module, self.module.get_submodule(owners[0].rpartition(".")[0]))
        return f"{name}() with {owners[0].rpartition('.')[2]!r} of {part}"


def of_loss(loss: Tensor) -> Contact:
    """The contact of a loss that shows no other one: its batch came by ways that torch does not show."""
    leaves, spec = tree_flatten(((source_of(loss),), {}))
    outcome = Outcome(get_gradient_edge(loss), loss.shape)
    return Contact(torch.clone, leaves, spec, [], [outcome], None, None, ("the loss",))


def ruled(module: nn.Module) -> list[nn.Module]:
    """The layers whose calls are kept; a layer's rule speaks for all parameters inside it."""
    layers: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for _, layer in submodules(module):
        if layer not in inside and has_rule(layer) and any(p.requires_grad for _, p in _slots(layer)):
            layers.append(layer)
            inside.update(layer.modules() if layer._modules else ())
    return layers


def _slots(layer: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Its parameters by name, those inside it too; a shared one at each place."""
    if layer._modules:
        return list(layer.named_parameters(remove_duplicate=False))
    return [(slot, p) for slot, p in layer._parameters.items() if p is not None]


def covers(module: nn.Module) -> bool:
    """Whether every trainable parameter belongs to a layer that has a rule."""
    inside = {part for layer in ruled(module) for part in layer.modules()}
    return all(
        part in inside or not any(p.requires_grad for p in part.parameters(recurse=False))
        for part in module.modules()
    )


def _moves(source: Source, names: Mapping[int, str]) -> bool:
    return not isinstance(source.key, int) or source.key in names


def _concerns(call: Call | Contact, names: Mapping[int, str]) -> bool:
    return any(_moves(source, names) for source in call.sources)
