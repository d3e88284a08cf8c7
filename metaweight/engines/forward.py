"""Engine ``forward``: a vector-Jacobian product through the update, then one dual-number pass."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from metaweight.engines.base import registry
from metaweight.engines.checks import EngineError, described, first_line, way_out
from metaweight.engines.one_step import Differentiated, OneStep, TrainPass
from metaweight.student.directional import directional
from metaweight.student.execution import LayerOutputs
from metaweight.student.student import Named, Student


@registry.register("forward")
class ForwardMode(OneStep):
    """The U inner products are one Jacobian-vector product of the loss vector in direction u.

    Exact also where BatchNorm couples the batch.  No second-order graph.  The dual pass takes over what
    linear layers gave, and convolutions as long as the train pass's graph is there, as with ``lookahead``.
    ``keep_convolutions``: always; with ``online`` an iteration of a convolutional student is then faster by a
    tenth, for more memory.
    """

    summary = "exact, one inner step; no double backward: one forward-mode pass gives every sample's slope"
    suspicion = (
        "a part of the student drops tangents (reentrant checkpointing, inference_mode, .data) or draws "
        "random numbers that nobody can draw again"
    )
    advice = "use engine='double' or 'difference'"

    def __init__(self, *, keep_convolutions: bool = False) -> None:
        super().__init__()
        self.keep_convolutions = keep_convolutions

    def differentiate(self, train: TrainPass, weights: Tensor) -> Dual:
        """See ``OneStep``."""
        kept = train.recorded.kept
        if isinstance(kept, LayerOutputs) and not (train.recorded.keep_graph or self.keep_convolutions):
            kept.forget_convolutions()
        return Dual(train, weights)

    def keeping(self, student: Student) -> AbstractContextManager[LayerOutputs]:
        """The layers' outputs: the dual pass need not compute them again."""
        return student.outputs_kept()


class Dual(Differentiated):
    """The train pass once more, with the direction as the parameters' tangent."""

    def __init__(self, train: TrainPass, weights: Tensor) -> None:
        self.train = train
        self.gradient = train.gradients((weights * train.loss).mean(), keep_graph=train.keep_graph)

    def slopes(self, direction: Named) -> Tensor:
        """See ``Differentiated``: one dual pass that replays the recorded random draws."""
        module = self.train.student.module

        def dual_pass() -> Tensor | None:
            return self._dual_pass(direction)

        try:
            tangent = dual_pass()
        except (NotImplementedError, RuntimeError) as error:
            advice = way_out(error, "use engine='double', or 'difference'")
            raise EngineError(
                f"{_failing_part(module, dual_pass)} has no forward-mode derivative "
                f"({first_line(error)}); {advice}"
            ) from error
        if tangent is None:
            raise EngineError(
                "the loss carries no tangent: the student cuts it (inference_mode, reentrant checkpointing, "
                ".detach() or .data on its way); use engine='double'"
            )
        return tangent

    def _dual_pass(self, direction: Named) -> Tensor | None:
        student, recorded = self.train.student, self.train.recorded
        recorded.random.restore(student.device)
        kept = recorded.kept if isinstance(recorded.kept, LayerOutputs) else None
        still = {name: p.detach() for name, p in student.parameters().items()}
        return directional(student, self.train.batch, still, direction, recorded.buffers, kept)


def _failing_part(root: nn.Module, dual_pass: Callable[[], object]) -> str:
    """The innermost submodule that runs when the dual pass fails, as ``'name' (Class)``."""
    stack: list[nn.Module] = []

    def enter(part: nn.Module, _inputs: object) -> None:
        stack.append(part)

    def leave(part: nn.Module, _inputs: object, _output: object) -> None:
        stack.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        dual_pass()
    except (NotImplementedError, RuntimeError):
        pass
    finally:
        for handle in handles:
            handle.remove()
    return described(root, stack[-1]) if stack else "the student's loss"
