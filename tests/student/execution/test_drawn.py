"""Random numbers of the compiled dual pass: drawn before it, in the order of an eager pass."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from students import batch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

import metaweight as mw
from benchmarks.speed.start import fresh_start, in_dtype, random_pair
from benchmarks.speed.students import subject
from benchmarks.speed.variants import Setting
from metaweight.student.execution import Execution
from metaweight.student.execution.drawn import draws_taken_out
from metaweight.testing.oracles import relative


class Masked(nn.Module):
    """Masks of two rates and shapes, in attention too, and noise that is added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = F.dropout(self.first(x), 0.2, self.training)[:, None, None].chunk(3, dim=-1)
        seen = F.scaled_dot_product_attention(q, k, v, dropout_p=0.4 if self.training else 0.0)
        x = x + F.dropout(seen[:, 0, 0].tanh(), 0.4, self.training)
        return self.head(F.alpha_dropout(x, 0.1, self.training) + 0.1 * torch.randn_like(x))


class Thrown(nn.Module):
    """Coins whose chances are values of the pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x).tanh()
        return self.head(hidden * torch.bernoulli(hidden.detach().sigmoid()))


def slopes(module: nn.Module, execution: Execution) -> Tensor:
    own = torch.optim.SGD(module.parameters(), lr=0.3)
    w = torch.linspace(0.2, 1.7, 6).double().requires_grad_()
    student = mw.Student(module, execution=execution)
    torch.manual_seed(5)
    return mw.hypergradient(
        student, own, batch((8,), 6, 1), batch((8,), 5, 2), lambda _: w, [w], "forward"
    ).grads[0]


def random_nodes(graph: fx.GraphModule) -> list[str]:
    return [
        str(node.target)
        for node in graph.graph.nodes
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    ]


def test_no_random_number_is_drawn_in_the_dual_graph(seen: list[fx.GraphModule]) -> None:
    torch.manual_seed(0)
    module = Masked().double()
    found = slopes(module, Execution(compile="seeing"))
    dual = seen[-1]
    assert not random_nodes(dual)
    assert sum(node.op == "placeholder" and node.name.startswith("drawn") for node in dual.graph.nodes) == 5
    eager = slopes(module, Execution())
    assert relative(found, eager) <= 1e-12


def test_draws_are_those_of_the_pass_in_its_order() -> None:
    def draw(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return F.dropout(x, 0.5), torch.randn_like(x[0]), F.dropout(x[:, :2], 0.1)

    x = torch.ones(40, 8)
    graph = make_fx(draw, tracing_mode="fake")(x)
    draws = draws_taken_out(graph)
    assert draws is not None
    torch.manual_seed(3)
    masks = [one() for one in draws]
    torch.manual_seed(3)
    for here, there in zip(graph(x, *masks), draw(x), strict=True):
        assert torch.equal(here, there)
    assert all(mask.std() > 0 for mask in masks)


def test_numbers_that_depend_on_a_value_are_left_to_an_eager_pass(seen: list[fx.GraphModule]) -> None:
    torch.manual_seed(0)
    module = Thrown().double()
    with pytest.warns(UserWarning, match="not compiled: a random number"):
        found = slopes(module, Execution(compile="seeing"))
    nodes = [node for graph in seen for node in graph.graph.nodes]
    assert nodes
    assert not any(isinstance(node.target, torch._ops.OpOverload) for node in nodes)  # no dual graph
    eager = slopes(module, Execution())
    assert relative(found, eager) <= 1e-12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_translator_with_dropout_compiled_by_inductor() -> None:
    setting = Setting(model="transformer-small", batch=4, meta_batch=4)
    start = fresh_start(setting)
    start.module.double()
    pair = random_pair(setting, torch.Generator().manual_seed(1))
    train, meta = (in_dtype(one, torch.float64) for one in pair)
    w = torch.ones(4).double().requires_grad_()
    found = []
    for execution in (Execution(), Execution(compile=True)):
        student = subject(setting.model).student(start.module, execution=execution)
        torch.manual_seed(0)
        gradient = mw.hypergradient(student, start.optimizer, train, meta, lambda _: w, [w], "forward")
        found.append(gradient.grads[0])
    assert relative(found[1], found[0]) <= 1e-8
