"""Engine ``ghost``: every sample's inner product from what one backward leaves at the layers."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from metaweight.engines.abilities import Abilities
from metaweight.engines.base import GradientAt, registry
from metaweight.engines.checks import EngineError, described
from metaweight.engines.ghost_layers import RULES, SLOTS, Share, couples, has_rule
from metaweight.engines.one_step import Differentiated, OneStep, TrainPass
from metaweight.student.execution.replaced import replaced
from metaweight.student.student import Named, Student

ELSEWHERE = "use engine='forward' or 'higher'"


@registry.register("ghost")
class Ghost(OneStep):
    """The inner products layer by layer: a layer is affine in its parameters, so unit i's share is
    (delta_i * layer(a_i; u)).sum() for its input a_i and delta_i = d loss_i / d output_i.

    One backward of the unweighted loss down to the layers' outputs gives all delta_i; the gradient at any
    weights and the slopes are one matrix product a layer each.  No second-order graph, no second pass;
    about 2.5 plain steps with ``online``.  Refuses what has no such rule, and batches that couple their
    samples.  Goodfellow (2015), arXiv 1510.01799, and the ghost products of Li et al. (2022), 2110.05679.
    """

    abilities = Abilities(coupled=False, tokens=False, written_out_attention=False, weighs_again=True)
    summary = "exact, one inner step; slopes from the layers' inputs and output gradients; no BatchNorm"

    def __init__(self) -> None:
        super().__init__()
        self._verified: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def keeping(self, student: Student) -> AbstractContextManager[LayerCalls]:
        """The calls of the layers that have a rule."""
        return LayerCalls(student.module).recorded()

    def differentiate(self, train: TrainPass, weights: Tensor) -> Shares:
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
        if train.recorded.forward.units.each_token:
            raise EngineError(
                "engine 'ghost' has no slopes for tokens: those of a sentence share its activations; "
                f"{ELSEWHERE}, or unit='sentence'"
            )
        names = {id(p): name for name, p in student.parameters().items() if name in train.inner.options}
        _refuse(student.module, names)
        first_time = student.module not in self._verified
        shares = kept.shares(train.loss, names, keep_graph=train.keep_graph or first_time)
        if not train.recorded.keep_graph:
            kept.calls.clear()
        differentiated = Shares(shares, student.parameters(), weights, train.loss.dtype)
        if first_time:
            self._verify(train, differentiated)
        return differentiated

    def contradiction(self, here: float, reverse_mode: float) -> str:
        """See ``OneStep``."""
        return (
            f"the layers' shares give {here:.6g}, reverse mode {reverse_mode:.6g}: a part of the student "
            f"uses its parameters outside its layers' calls, or couples the samples of a batch; {ELSEWHERE}"
        )

    def _verify(self, train: TrainPass, shares: Shares) -> None:
        """Raise EngineError where the gradient at weights that are all different is not reverse mode's.

        This sees a parameter used outside its layer's call, samples that are not along dimension 0, and
        samples that are coupled by hand.
        """
        module, loss = train.student.module, train.loss.detach()
        ramp = torch.linspace(0.5, 1.5, len(loss), dtype=loss.dtype, device=loss.device)
        gradient = shares.gradient_at(ramp)
        expected = train.gradients((ramp * train.loss).mean(), keep_graph=train.keep_graph)
        if not expected:
            return
        norms = {name: torch.linalg.vector_norm(g) for name, g in expected.items()}
        # a gradient that is zero but for rounding (a key's bias in attention) has no digits to compare
        floor = 1e-3 * torch.linalg.vector_norm(torch.stack(list(norms.values())))
        tolerance = self.tolerance(loss.dtype)
        for name, value in expected.items():
            error = torch.linalg.vector_norm(value - gradient[name]) if name in gradient else norms[name]
            if bool(error > tolerance * (norms[name] + floor)):
                part = described(module, module.get_submodule(name.rpartition(".")[0]))
                raise EngineError(
                    f"the calls of {part} do not give the gradient of {name!r} (off by "
                    f"{float(error / norms[name]):.1e} of itself): it is used outside these calls, or the "
                    "batch is not dimension 0 of the layers' inputs, or a sample's loss depends on the "
                    f"others in its batch; {ELSEWHERE}"
                )
        if len(loss) > 1 and bool(floor.isfinite()):  # one unit owns all rows, however they lie
            self._verified.add(module)


@dataclass(frozen=True)
class Call:
    """One call of a layer, and where the gradient of its output will pass."""

    layer: nn.Module
    input: Tensor
    version: int
    edge: GradientEdge
    shape: torch.Size


class LayerCalls:
    """The calls, in one pass, of a module's layers that have a rule.  Holds their inputs."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.calls: list[Call] = []

    @contextmanager
    def recorded(self) -> Iterator[LayerCalls]:
        """Calls inside are kept."""
        layers = [
            layer
            for layer in self.module.modules()
            if has_rule(layer) and any(p.requires_grad for p in layer.parameters(recurse=False))
        ]

        def keep(layer: nn.Module, input: Tensor) -> Tensor:
            output: Tensor = type(layer).forward(layer, input)
            if output.requires_grad:
                self.calls.append(Call(layer, input.detach(), input._version, _edge(output), output.shape))
            return output

        with replaced(layers, keep):
            yield self

    def shares(self, loss: Tensor, names: Mapping[int, str], *, keep_graph: bool) -> list[tuple[str, Share]]:
        """Shares in the gradients of ``loss`` [U], with the parameters' names by their id.

        One backward, down to the layers' outputs only: no gradient of a parameter is computed in it.
        """
        slots = [
            {
                slot: names[id(p)]
                for slot in SLOTS
                if (p := getattr(call.layer, slot, None)) is not None and id(p) in names
            }
            for call in self.calls
        ]
        calls = [(call, owners) for call, owners in zip(self.calls, slots, strict=True) if owners]
        if not calls:
            return []
        edges = [call.edge for call, _ in calls]
        deltas = torch.autograd.grad(
            loss, edges, torch.ones_like(loss), retain_graph=keep_graph, allow_unused=True
        )
        found: list[tuple[str, Share]] = []
        with torch.no_grad():
            for (call, owners), delta in zip(calls, deltas, strict=True):
                if delta is None:
                    continue
                self._refuse(call, len(loss))
                rule = RULES[type(call.layer)]
                parts = rule(call.layer, call.input, delta.reshape(call.shape), len(loss))
                found += [(owners[slot], share()) for slot, share in parts if slot in owners]
        return found

    def _refuse(self, call: Call, units: int) -> None:
        if call.input._version != call.version:
            raise EngineError(
                f"the input of {described(self.module, call.layer)} was changed in place after the call; "
                "write the change without the underscore"
            )
        if call.input.dim() == 0 or len(call.input) % units or len(call.shape) == 1:
            raise EngineError(
                f"{described(self.module, call.layer)} got an input of shape {tuple(call.input.shape)} for "
                f"{units} units: engine 'ghost' needs the batch in dimension 0; {ELSEWHERE}"
            )


class Shares(Differentiated):
    """The train pass as its layers' shares; holds their inputs and output gradients."""

    def __init__(
        self, shares: list[tuple[str, Share]], parameters: Named, weights: Tensor, dtype: torch.dtype
    ) -> None:
        self.shares, self.parameters, self.dtype = shares, parameters, dtype
        self.gradient = self.gradient_at(weights)

    @property
    def again(self) -> GradientAt:
        """See ``Differentiated``."""
        return self.gradient_at

    def gradient_at(self, weights: Tensor) -> dict[str, Tensor]:
        """Parameter name -> gradient of mean(weights * loss), for any ``weights`` [U]; no backward."""
        scale = weights.detach() / len(weights)
        total: dict[str, Tensor] = {}
        with torch.no_grad():
            for name, share in self.shares:
                part = share.gradient(scale).to(self.parameters[name].dtype)
                total[name] = total[name].add_(part) if name in total else part
        return total

    def slopes(self, direction: Named) -> Tensor:
        """See ``Differentiated``."""
        with torch.no_grad():
            parts = [
                share.slopes(direction[name]).to(self.dtype)
                for name, share in self.shares
                if name in direction
            ]
            return torch.stack(parts).sum(0)


def _refuse(module: nn.Module, names: Mapping[int, str]) -> None:
    """Raise EngineError for a part that couples samples, or holds one of ``names`` without a rule for it."""
    for part in module.modules():
        if couples(part):
            raise EngineError(f"{described(module, part)} couples the samples of a batch; {ELSEWHERE}")
        for slot, parameter in part.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) in names and not (slot in SLOTS and has_rule(part)):
                raise EngineError(
                    f"engine 'ghost' has no rule for {slot!r} of {described(module, part)}; {ELSEWHERE}"
                )


def _edge(output: Tensor) -> GradientEdge:
    """Where the gradient of a layer's output arrives, whatever is done to the output in place later on."""
    base = output._base
    # an in-place change of a view goes through its base and leaves the view's own node aside
    if (
        base is not None
        and base.numel() == output.numel()
        and base.is_contiguous()
        and output.is_contiguous()
    ):
        return get_gradient_edge(base)
    return get_gradient_edge(output)
