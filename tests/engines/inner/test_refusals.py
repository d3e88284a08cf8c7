"""What would change a step behind the update's back is refused where a Reweighter is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from students import batch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

import metaweight as mw
from metaweight.engines.inner import InnerStep


def clip(*_: Any) -> None:
    pass


def linear() -> nn.Linear:
    return nn.Linear(8, 3).double()


def refused(module: nn.Module, optimizer: Any, error: type[Exception], said: str) -> None:
    """By the Reweighter and by ``hypergradient``; a teacher that learns nothing takes the same optimizer."""
    student, train = mw.Student(module), batch((8,), 6, 1)
    teacher = mw.build_teacher("mw-net", spec=student.spec(train))
    with pytest.raises(error, match=said):
        mw.Reweighter(student, teacher, optimizer=optimizer)
    w = torch.ones(6, dtype=torch.float64, requires_grad=True)
    with pytest.raises(error, match=said):
        mw.hypergradient(student, optimizer, train, batch((8,), 5, 2), lambda _: w, [w], "double")


@pytest.mark.parametrize("place", ["register_step_pre_hook", "register_step_post_hook"])
def test_a_hook_on_the_step(place: str) -> None:
    module = linear()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    handle = getattr(optimizer, place)(clip)
    refused(module, optimizer, ValueError, r"SGD has a step hook \(clip\).*max_norm clips")
    handle.remove()
    InnerStep.of(optimizer, dict(module.named_parameters()))


@pytest.fixture(params=[register_optimizer_step_pre_hook, register_optimizer_step_post_hook])
def everywhere(request: pytest.FixtureRequest) -> Iterator[Callable[[Any], None]]:
    handles = []
    yield lambda hook: handles.append(request.param(hook))
    for handle in handles:
        handle.remove()


def test_a_hook_on_all_optimizers(everywhere: Callable[[Any], None]) -> None:
    module = linear()
    everywhere(clip)
    refused(module, torch.optim.SGD(module.parameters(), lr=0.1), ValueError, "SGD has a step hook")


def test_a_hook_of_torchs_profiler_only_looks(everywhere: Callable[[Any], None]) -> None:
    module = linear()
    everywhere(torch.profiler._optimizer_post_hook)
    InnerStep.of(torch.optim.SGD(module.parameters(), lr=0.1), dict(module.named_parameters()))


def test_a_hook_on_a_gathered_gradient() -> None:
    module = linear()
    module.bias.register_post_accumulate_grad_hook(clip)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    refused(module, optimizer, ValueError, "parameter 'bias' has a post-accumulate-grad hook")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"differentiable": True}, "differentiable=True in parameter group 0"),
        ({"capturable": True}, "on the CPU"),
    ],
)
def test_options_that_no_update_has(options: dict[str, Any], said: str) -> None:
    module = linear()
    refused(module, torch.optim.Adam(module.parameters(), **options), ValueError, said)


def test_an_optimizer_without_an_update() -> None:
    module = linear()
    refused(
        module, torch.optim.Rprop(module.parameters()), TypeError, "Rprop cannot be differentiated through"
    )


def test_a_teacher_that_learns_nothing_takes_any_optimizer() -> None:
    module = linear()
    optimizer = torch.optim.Rprop(module.parameters())
    optimizer.register_step_post_hook(clip)
    student = mw.Student(module)
    train = batch((8,), 6, 1)
    teacher = mw.build_teacher("uniform", spec=student.spec(train))
    mw.Reweighter(student, teacher, optimizer=optimizer).step(train)
    assert optimizer.state[module.weight]["step"] == 1


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_with_sparse_gradients(kind: type[nn.Module]) -> None:
    module = nn.Sequential(kind(7, 3, sparse=True))
    student = mw.Student(nn.Sequential(module, nn.Flatten()), taps=())
    optimizer = torch.optim.SGD(student.module.parameters(), lr=0.1)
    w = torch.ones(2, requires_grad=True)
    words = mw.Batch((torch.tensor([[1], [2]]),), torch.tensor([0, 1]), torch.arange(2))
    with pytest.raises(ValueError, match=r"'0\.0' is an embedding with sparse gradients.*sparse=False"):
        mw.hypergradient(student, optimizer, words, words, lambda _: w, [w])
    with pytest.raises(ValueError, match="embedding with sparse gradients"):
        mw.Reweighter(student, mw.build_teacher("l2rw", spec=student.spec(words)), optimizer=optimizer)


def test_a_sparse_gradient_of_a_function() -> None:
    p = nn.Parameter(torch.ones(3, 2))
    inner = InnerStep.of(torch.optim.SGD([p], lr=0.1), {"p": p})
    with pytest.raises(ValueError, match=r"gradient of 'p' is sparse.*sparse=False"):
        inner({"p": p.detach()}, {"p": torch.eye(3, 2).to_sparse()})


def test_parameters_that_are_not_the_students() -> None:
    module, other = linear(), linear()
    optimizer = torch.optim.SGD([*module.parameters(), *other.parameters()], lr=0.1)
    refused(
        module, optimizer, ValueError, r"group 0 holds a tensor of shape \(3, 8\) on cpu that is no parameter"
    )
    with pytest.raises(ValueError, match="no trainable parameter"):
        InnerStep.of(torch.optim.SGD([nn.Parameter(torch.zeros(1), requires_grad=False)], lr=0.1), {})


def test_a_state_that_stayed_on_another_device() -> None:
    module = linear()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    optimizer.state[module.weight]["momentum_buffer"] = torch.zeros(3, 8, device="meta")
    student = mw.Student(module)
    teacher = mw.build_teacher("l2rw", spec=student.spec(batch((8,), 6, 1)))
    with pytest.raises(ValueError, match="momentum_buffer of a parameter on cpu is on meta"):
        mw.Reweighter(student, teacher, optimizer=optimizer)


def complex_parameter() -> Tensor:
    return nn.Parameter(torch.ones(2, 2, dtype=torch.complex128))


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_parameters_where_torch_takes_none(name: str) -> None:
    if not hasattr(torch.optim, name):
        pytest.skip(f"this torch has no {name}")
    p = complex_parameter()
    with pytest.raises(ValueError, match="take no complex parameters"):
        InnerStep.of(getattr(torch.optim, name)([p]), {"p": p})


def test_adafactor_with_parameters_of_two_precisions_needs_an_eps() -> None:
    if not hasattr(torch.optim, "Adafactor"):
        pytest.skip("this torch has no Adafactor")
    pair = {"a": nn.Parameter(torch.ones(2)), "b": nn.Parameter(torch.ones(2).double())}
    with pytest.raises(ValueError, match="several precisions: give both of its eps"):
        InnerStep.of(torch.optim.Adafactor(pair.values()), pair)
    InnerStep.of(torch.optim.Adafactor(pair.values(), eps=(1e-5, 1e-3)), pair)
