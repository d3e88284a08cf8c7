"""What an iteration does, counted: its floating-point operations, and how often it waits for the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.device_reads import DeviceReads
from benchmarks.speed.iterate import prepare
from benchmarks.speed.start import Start, fresh_start, random_pair
from benchmarks.speed.variants import Setting, Variant


def flops_of(variant: Variant, setting: Setting) -> float:
    """Of one inner step: a third cycle's operations, for in the first two the engine is checked.

    Counted are products of matrices and convolutions, with two operations for a multiply-add, and with
    them all that forward-mode AD and double backward make of them; sums, norms, activations and
    optimizers are not.  A compiled variant is counted eager, for the counter does not see inside compiled
    code; attention is counted in its written-out form, for the counter does not know the CPU's fused one.
    """
    with sdpa_kernel(SDPBackend.MATH):
        cycle, _ = _checked_cycle(variant, setting)
        with FlopCounterMode(display=False) as counter:
            cycle()
    return counter.get_total_flops() / variant.inner_steps


def waits_of(variant: Variant, setting: Setting) -> float:
    """Of one inner step: how often a GPU would have to be waited for, counted on the CPU, eager.

    Python that asks for a value waits, and so does an operator whose shape depends on values.  Optimizers'
    counts of steps lie on the CPU, whatever the device is.
    """
    cycle, start = _checked_cycle(variant, setting)
    states = [state for one in (start.optimizer, start.teacher_optimizer) for state in one.state.values()]
    with DeviceReads([state["step"] for state in states if "step" in state]) as counted:
        cycle()
    return len(counted.reads) / variant.inner_steps


def _checked_cycle(variant: Variant, setting: Setting) -> tuple[Callable[[], None], Start]:
    """The third cycle of a variant, eager, and what it moves."""
    variant, start = replace(variant, compile=False), fresh_start(setting)
    iterate = prepare(variant, start, setting)
    wide = replace(setting, meta_batch=variant.meta_batch or setting.meta_batch)
    train, meta = random_pair(wide, torch.Generator().manual_seed(setting.seed))

    def cycle() -> None:
        for _ in range(variant.every):
            iterate([train] * variant.unroll, meta)

    cycle()
    cycle()
    return cycle, start
