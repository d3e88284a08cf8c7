"""Floating-point operations of an iteration, by torch's counter."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.speed.iterate import prepare
from benchmarks.speed.start import fresh_start, random_pair
from benchmarks.speed.variants import Setting, Variant


def flops_of(variant: Variant, setting: Setting) -> float:
    """Of one inner step: a third cycle's operations, for in the first two the engine is checked.

    Counted are products of matrices and convolutions, with two operations for a multiply-add, and with
    them all that forward-mode AD and double backward make of them; sums, norms, activations and
    optimizers are not.  A compiled variant is counted eager, for the counter does not see inside compiled
    code; attention is counted in its written-out form, for the counter does not know the CPU's fused one.
    """
    variant = replace(variant, compile=False)
    iterate = prepare(variant, fresh_start(setting), setting)
    wide = replace(setting, meta_batch=variant.meta_batch or setting.meta_batch)
    train, meta = random_pair(wide, torch.Generator().manual_seed(setting.seed))

    def cycle() -> None:
        for _ in range(variant.every):
            iterate([train] * variant.unroll, meta)

    with sdpa_kernel(SDPBackend.MATH):
        cycle()
        cycle()
        with FlopCounterMode(display=False) as counter:
            cycle()
    return counter.get_total_flops() / variant.inner_steps
