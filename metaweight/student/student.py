"""The Student: a module with unit losses and taps, runnable on any parameters without touching its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch, Forward, StateSpec, require_batch
from metaweight.core.processes import Processes
from metaweight.core.randomness import forked_rng
from metaweight.core.shards import own_shard
from metaweight.student.checks import explained, refuse_wrapped, require_taps
from metaweight.student.execution import Execution, LayerOutputs, keep_buffers
from metaweight.student.graphless import Graphless
from metaweight.student.labels import spec_of
from metaweight.student.losses import UnitLoss, cross_entropy
from metaweight.student.moving import Buffers, Moving
from metaweight.student.outputs import Logits, logits_in, shown_logits, units_of
from metaweight.student.sharded import Sharded
from metaweight.student.standing import standing_on
from metaweight.student.taps import TapReading, TimeAxes, read_tap, source_lengths, tapped, unit_features

Named = Mapping[str, Tensor]
T = TypeVar("T")


class Student:
    """A torch module with its loss per unit and the submodules that the teacher may look into.

    ``loss``: (outputs, targets) -> [U], ([U], sizes [U]) or Units.  ``taps``: names of submodules, as
    ``named_modules()`` prints them; the last one is the deepest.  ``logits``: where these are in outputs that
    are no tensor, a key, an attribute or a place; None: they are found (``logits_in``).  ``time_axes``: the
    real positions of a tap over time, for padded batches.  ``execution``: precision, memory layout and
    compilation of all passes.  In several processes each has the student and a part of each batch:
    ``process_group`` names them; None: those of a DistributedDataParallel around ``module``, or of the group
    that is up.  A module in ``fully_shard`` is spread over those of its mesh.  Raises KeyError for an unknown
    tap, ValueError where no parameter is trainable or the module is compiled or wrapped otherwise,
    MetaweightError for parameters that are sharded in another way.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: UnitLoss = cross_entropy,
        *,
        taps: Sequence[str] = (),
        logits: Logits = None,
        time_axes: TimeAxes | None = None,
        execution: Execution | None = None,
        process_group: Any = None,
    ) -> None:
        if isinstance(module, nn.parallel.DistributedDataParallel):
            process_group, module = process_group or module.process_group, module.module
        refuse_wrapped(module)
        if not any(p.requires_grad for p in module.parameters()):
            raise ValueError("the student has no trainable parameter: requires_grad is False for all of them")
        require_taps(module, taps)
        self.module = module
        self.sharded = Sharded.of(module)
        self._processes = None if process_group is None else Processes.at_hand(process_group)
        if self.sharded is not None:
            self._processes = self.sharded.processes
        self.loss = loss
        self.taps = tuple(taps)
        self.logits = logits
        self._graphless = Graphless()
        self.time_axes = time_axes
        self.execution = execution or Execution()
        self.execution.prepare(module)
        self.compiled = self.execution.compiled(module, self.taps)
        if hasattr(loss, "_torchdynamo_orig_callable"):  # compiled; its graph is walked twice
            keep_buffers()
        self._moving = Moving(module, loss)

    def __getstate__(self) -> dict[str, Any]:
        """All but the compiled passes, which belong to this very module."""
        return {**vars(self), "compiled": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.compiled = self.execution.compiled(self.module, self.taps)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Trainable parameters by name; a shared one appears once."""
        held = self._moving.parameters() if self.sharded is None else self.sharded.parameters
        return {name: p for name, p in held.items() if p.requires_grad}  # type: ignore[misc]

    def own(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What this process holds of ``parameters``, detached, in the same memory: all, or their shards."""
        if self.sharded is None:
            return {name: p.detach() for name, p in parameters.items()}
        return {name: own_shard(p) for name, p in parameters.items()}

    def total(self, value: Tensor) -> Tensor:
        """Of a sum over parameters that this process has of its own: the sum over all."""
        return value if self.sharded is None else self.sharded.total(value)

    @property
    def processes(self) -> Processes:
        """Those that train this student together, each with a part of every batch."""
        return Processes.at_hand() if self._processes is None else self._processes

    @property
    def moving(self) -> Moving:
        """What passes move besides trainable parameters, as far as it is known."""
        self._moving.follow(self.loss)
        return self._moving

    def buffers(self) -> Buffers:
        """Clones of all that passes move: buffers (running statistics and the like), and state elsewhere."""
        return self.moving.buffers()

    def put(self, buffers: Mapping[str, Tensor]) -> None:
        """Make what ``buffers`` holds the live student's, in the shapes that it has there."""
        self.moving.put(buffers)

    @property
    def device(self) -> torch.device:
        """The device of the first parameter."""
        return next(self.module.parameters()).device

    def __call__(self, batch: Batch, *, module: nn.Module | None = None, taps: bool = True) -> Forward:
        """Run the live module (or a copy of it) as it stands; moves its running statistics."""
        if module is None and self.compiled is not None:
            return self._run_compiled(batch, {}, dict(self.module.named_buffers()), taps)
        module = self.module if module is None else module
        return self._pass(batch, module, taps)

    def functional(
        self,
        batch: Batch,
        parameters: Mapping[str, Tensor],
        buffers: dict[str, Tensor],
        *,
        taps: bool = True,
        exact: bool = False,
        plain: bool = False,
        then: Callable[[Forward], object] | None = None,
    ) -> Forward:
        """Run on other parameters; ``buffers`` (clones) take what the pass moves, and nothing live is moved.

        ``then``: what is to be done while the module still stands on them, see ``within``.
        Whatever ``execution`` says, ``exact``: in the parameters' own precision; ``plain``: not compiled
        either.  Raises MetaweightError for a pass that moves what none moved before.
        """
        exact = exact or plain
        self.learn_what_moves(batch)
        self.moving.complete(buffers)
        values = {**parameters, **buffers}

        def run() -> Forward:
            if self.compiled is not None and not plain:
                forward = self._run_compiled(batch, parameters, buffers, taps, exact)
            else:
                forward = self._pass(batch, self.module, taps, exact)
            if then is not None:
                then(forward)
            return forward

        # the loss belongs in there, for it may read the module's parameters (a penalty on them)
        with self.moving.visited(buffers):
            forward = self._standing_on(values, run)
        if self.compiled is None or plain:
            buffers.update((name, values[name].detach()) for name in buffers)
        return forward

    def learn_what_moves(self, batch: Batch) -> None:
        """Once: a pass that nobody sees, to know what to keep copies of; see ``moving``."""

        def run() -> None:
            with forked_rng(self.device):
                self.without_graph(
                    lambda: self.standing_on(self.buffers(), lambda: self._pass(batch, self.module, False))
                )

        self.moving.learn(run)

    def within(self, parameters: Named, buffers: Named, call: Callable[[], T]) -> T:
        """``call()`` while the module stands on other parameters and buffers, as in ``functional``.

        A backward belongs in here: a checkpoint computes its part again, on what it finds in the module.
        """
        with self.moving.visited(buffers):
            return self.standing_on({**parameters, **buffers}, call)

    def standing_on(self, values: Named, call: Callable[[], T]) -> T:
        """``call()`` with other tensors in the module; what is kept elsewhere is the live one."""
        return self._standing_on(dict(values), call)

    def _standing_on(self, values: dict[str, Tensor], call: Callable[[], T]) -> T:
        """What the module assigns anew to a buffer among ``values`` stands there afterwards."""
        if self.sharded is None:
            return standing_on(self.module, values, call)
        shards = {name: value for name, value in values.items() if name in self.sharded.parameters}
        buffers = {name: value for name, value in values.items() if name not in shards}
        result = self.sharded.standing_on(shards, lambda: standing_on(self.module, buffers, call))
        values.update(buffers)
        return result

    def outputs_kept(self) -> AbstractContextManager[LayerOutputs]:
        """Around a pass that a directional one follows: what that one can take over."""
        return LayerOutputs(self.module).recorded() if self.compiled is None else self.compiled.recorded()

    def complete(self, parameters: Named, buffers: Named) -> dict[str, Tensor]:
        """Every parameter and buffer by name: those given, and the live ones of the others."""
        return {**dict(self.module.named_parameters()), **parameters, **buffers}

    def _run_compiled(
        self, batch: Batch, parameters: Named, buffers: Named, taps: bool, exact: bool = False
    ) -> Forward:
        assert self.compiled is not None
        with explained(self.module, batch), nullcontext() if exact else self.execution.autocast(self.device):
            torch.clear_autocast_cache()
            outputs, values = self.compiled(self.complete(parameters, buffers), self.execution.inputs(batch))
        names = self.taps if taps else ()
        readings = {tap: read_tap(tap, values[tap], batch, self.time_axes) for tap in names if tap in values}
        return self._concluded(outputs, readings, batch, names)

    def _pass(self, batch: Batch, module: nn.Module, taps: bool, exact: bool = False) -> Forward:
        readings: dict[str, TapReading] = {}
        names = self.taps if taps else ()
        autocast = nullcontext() if exact else self.execution.autocast(self.device)
        with explained(module, batch), tapped(module, names, batch, self.time_axes, readings), autocast:
            # an autocast around all passes keeps casts of parameters that have moved since
            torch.clear_autocast_cache()
            args, kwargs = self.execution.inputs(batch)
            outputs = module(*args, **kwargs)
        return self._concluded(outputs, readings, batch, names)

    def _concluded(
        self, outputs: Any, readings: Mapping[str, TapReading], batch: Batch, names: Sequence[str]
    ) -> Forward:
        silent = [name for name in names if name not in readings]
        if silent:
            raise ValueError(
                f"tap {silent[0]!r} is never called in the student's forward pass; choose another"
            )
        outputs = self.execution.in_full(outputs, next(self.module.parameters()).dtype)
        logits = logits_in(outputs, self.logits)
        units = units_of(self.loss, outputs, logits, batch)
        # in the order of the taps, not of the calls
        features = {tap: unit_features(readings[tap], units).to(units.loss.dtype) for tap in names}
        lengths = {tap: source_lengths(readings[tap], units) for tap in names}
        known_lengths = {tap: length for tap, length in lengths.items() if length is not None}
        shown = shown_logits(logits, units, batch)
        return Forward(units, shown, features, known_lengths, batch, self.processes)

    def without_graph(self, call: Callable[[], T]) -> T:
        """``call()``, passes of this student, without a graph behind its result (``Graphless``)."""
        return self._graphless.run(self, call)

    def glance(self, batch: Batch, *, plain: bool = True) -> Forward:
        """A pass without a graph that leaves no trace; ``plain`` as in ``functional``."""
        with forked_rng(self.device):
            return self.without_graph(lambda: self.functional(batch, {}, self.buffers(), plain=plain))

    def spec(
        self, batch: Batch, *, class_counts: Sequence[int] | None = None, samples: int | None = None
    ) -> StateSpec:
        """Sizes of this student's states, measured on one batch; changes nothing.

        ``class_counts`` and ``samples``: what some teachers want to know of the training set.
        """
        counts = None if class_counts is None else tuple(int(n) for n in class_counts)
        return spec_of(self, require_batch(batch), counts, samples)
