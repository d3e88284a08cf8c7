"""The proof of a layer's rule for engine ``ghost``: per-sample gradients by autograd in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from metaweight.engines.ghost.layers import OWN_RULES
from metaweight.engines.ghost.shares import Share
from metaweight.testing.rules import ContractError

TOLERANCE = 1e-9


def check_layer_rule(layer: nn.Module, example_input: Tensor) -> None:
    """Prove the rule that ``register_layer_rule`` filed for the class of ``layer``.

    ``example_input``: [R, ...], the batch in dimension 0.  Samples of one row are tried, and of two where R
    is even.  The layer is copied in float64 and stays as it is.  Raises ContractError with what is off: a
    parameter left out or unknown, a shape, the gradient at some weights, the slopes in some direction, an
    argument that was changed.
    """
    if type(layer) not in OWN_RULES:
        name = type(layer).__name__
        raise ContractError(f"no rule is filed for {name}: decorate one with register_layer_rule({name})")
    layer = copy.deepcopy(layer).double()
    input = example_input.double() if example_input.is_floating_point() else example_input
    for rows in (1, 2):
        if input.dim() and len(input) % rows == 0 and len(input) > rows:
            _check(layer, input, len(input) // rows)


def _check(layer: nn.Module, input: Tensor, units: int) -> None:
    parameters = dict(layer.named_parameters(remove_duplicate=False))
    with torch.enable_grad():
        output = layer(input)
        if not isinstance(output, Tensor) or output.dim() == 0 or len(output) % units:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ContractError(f"a layer with a rule gives one tensor, the batch in dimension 0; got {got}")
        delta = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
        blocks = (output * delta).reshape(units, -1).sum(1)
        each = _each(blocks, parameters)
    given = input.detach().clone(), delta.clone()
    with torch.no_grad():
        slots = list(OWN_RULES[type(layer)](layer, input.detach(), delta, units))
        shares = {name: share() for name, share in slots}
        if not (torch.equal(given[0], input) and torch.equal(given[1], delta)):
            raise ContractError("the rule changes its input or its delta in place; compute on copies")
        _require_names([name for name, _ in slots], parameters)
        for name, share in shares.items():
            _require_right(name, share, each[name], units)


def _each(blocks: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Parameter name -> the gradient of each of ``blocks`` [U], [U, *shape]."""
    own = {name: p for name, p in parameters.items() if p.requires_grad}
    ways = [
        torch.autograd.grad(one, list(own.values()), retain_graph=True, allow_unused=True) for one in blocks
    ]
    return {
        name: torch.stack([torch.zeros_like(p) if g is None else g for g in column])
        for (name, p), column in zip(own.items(), zip(*ways, strict=True), strict=True)
    }


def _require_names(names: list[str], parameters: Mapping[str, Tensor]) -> None:
    known = {name for name, p in parameters.items() if p.requires_grad}
    if unknown := set(names) - set(parameters):
        raise ContractError(f"the rule names {sorted(unknown)}, the layer's parameters are {sorted(known)}")
    if missing := known - set(names):
        raise ContractError(f"the rule says nothing about {sorted(missing)}")
    if len(names) > len(set(names)):
        raise ContractError(f"the rule names a parameter twice: {names}")


def _require_right(name: str, share: Share, each: Tensor, units: int) -> None:
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):
        scale = torch.randn(units, generator=generator).to(each)
        direction = torch.randn(each.shape[1:], generator=generator).to(each)
        expected = torch.einsum("u,u...->...", scale, each)
        _require(f"gradient(scale) of {name!r}", share.gradient(scale), expected)
        _require(
            f"slopes(u) of {name!r}", share.slopes(direction), (each * direction).reshape(units, -1).sum(1)
        )


def _require(what: str, got: Tensor, expected: Tensor) -> None:
    if got.shape != expected.shape:
        raise ContractError(f"{what} has shape {tuple(got.shape)}, it is {tuple(expected.shape)}")
    error = float(torch.linalg.vector_norm(got - expected))
    norm = float(torch.linalg.vector_norm(expected))
    if not error <= TOLERANCE * norm + 1e-12:
        raise ContractError(f"{what} is off by {error / max(norm, 1e-300):.1e} of itself")
