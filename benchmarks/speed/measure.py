"""Time in interleaved rounds, and extra peak memory in a process of its own."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from benchmarks.speed.iterate import Iterate, prepare
from benchmarks.speed.start import fresh_start, random_pair, small_batch
from benchmarks.speed.variants import PLAIN, Setting, Variant
from metaweight import Batch, MetaweightError

MMAP_THRESHOLD = "MALLOC_MMAP_THRESHOLD_"


@dataclass(frozen=True)
class Timing:
    """One measured cycle of one variant."""

    round: int
    variant: str
    position: int
    """Place in its round's order, from 0."""
    seconds: float
    """Of one inner step: a cycle's time over its iterations and their K."""


def interleaved(
    iterates: Mapping[Variant, Iterate],
    pairs: Iterable[tuple[Batch, Batch]],
    generator: torch.Generator,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timing]:
    """One cycle of every variant on each pair of batches, in an order drawn anew for each round.

    Interleaving lets a slow minute of the machine hit all variants alike; the drawn order lets none of
    them always follow the same neighbour.
    """
    timings, variants = [], list(iterates)
    gc.collect()
    gc.freeze()  # what compilers leave behind would make each collection take longer than an iteration
    for number, (train, meta) in enumerate(pairs):
        for position, chosen in enumerate(torch.randperm(len(variants), generator=generator).tolist()):
            variant = variants[chosen]
            gc.collect()  # a variant pays for its own garbage, not for its neighbour's
            start = clock()
            for _ in range(variant.every):
                iterates[variant]([train] * variant.unroll, meta)
            timings.append(Timing(number, variant.name, position, (clock() - start) / variant.inner_steps))
    gc.unfreeze()
    return timings


def beside_plain(
    variants: Sequence[Variant],
    setting: Setting,
    rounds: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[str, list[str]]:
    """Milliseconds of a plain step, and what each of the ``variants`` takes in plain steps, median and
    quartiles over ``rounds`` behind two that warm up.

    Raises Refused and MetaweightError where one cannot.
    """
    iterates = {each: prepare(each, fresh_start(setting), setting) for each in (PLAIN, *variants)}
    generator = torch.Generator().manual_seed(0)
    pairs = [random_pair(setting, generator) for _ in range(2 + rounds)]
    interleaved(iterates, pairs[:2], generator)
    timings = interleaved(iterates, pairs[2:], generator, clock=clock)
    plain, *others = (
        torch.tensor([t.seconds for t in timings if t.variant == each.name], dtype=torch.float64)
        for each in iterates
    )
    quarters = torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64)
    ratios = ["{:.2f} [{:.2f}, {:.2f}]".format(*(one / plain).quantile(quarters).tolist()) for one in others]
    return f"{1e3 * median(plain.tolist()):.0f}", ratios


def extra_peak(work: Callable[[], None]) -> int:
    """Bytes by which the resident memory of this process rises, at its peak, above where ``work`` found it.

    Linux only: the kernel's high-water mark is set back first.  Raises OSError where there is none.
    """
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    work()
    return max(0, _resident("VmHWM") - before)


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")
    return 1024 * int(found[1])


def memory_of(variant: Variant, setting: Setting) -> int:
    """Extra peak bytes of a variant's iterations in this process, which must be a fresh one.

    A first cycle on two samples loads the libraries and makes the optimizers' states, which are not the
    iteration's cost and would be counted as such; where the student is compiled it has the real batches,
    for other sizes would be compiled anew.
    """
    torch.set_num_threads(setting.threads)
    torch.manual_seed(setting.seed)
    generator = torch.Generator().manual_seed(setting.seed)
    iterate = prepare(variant, fresh_start(setting), setting)
    small = small_batch(setting, generator)
    train, meta = random_pair(
        replace(setting, meta_batch=variant.meta_batch or setting.meta_batch), generator
    )
    first = (train, meta) if variant.compile else (small, small)
    for _ in range(variant.every):
        iterate([first[0]] * variant.unroll, first[1])
    gc.collect()

    def cycle() -> None:
        for _ in range(max(2, variant.every)):
            iterate([train] * variant.unroll, meta)

    return extra_peak(cycle)


def memory_in_fresh_process(variant: Variant, setting: Setting) -> int:
    """``memory_of`` in a new process: what another variant left behind cannot hide a peak.

    Raises what ``memory_of`` raised, MetaweightError where the process died (killed for its memory, say).
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, variant, setting), daemon=True)
    with _blocks_returned():
        process.start()
    sender.close()  # the child holds the only other end: its death ends our wait, and ours ends its work
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        raise MetaweightError(
            f"the process that measures {variant.name!r} died (exit code {process.exitcode}); "
            "if it ran out of memory, take smaller batches, or --no-memory"
        ) from None
    finally:
        receiver.close()
    process.join()
    if isinstance(answer, Exception):
        raise answer
    return int(answer)


@contextmanager
def _blocks_returned() -> Iterator[None]:
    """glibc in a process started inside gives blocks of a mebibyte and more back when they are freed.

    By default it keeps them, in pieces that the next pass cannot always use: two passes one after the other
    then seem to need up to 1.7 times the memory of one, though nothing of the first is alive.
    """
    before = os.environ.get(MMAP_THRESHOLD)
    os.environ[MMAP_THRESHOLD] = str(2**20)
    try:
        yield
    finally:
        del os.environ[MMAP_THRESHOLD]
        if before is not None:
            os.environ[MMAP_THRESHOLD] = before


def _answer(sender: Connection, variant: Variant, setting: Setting) -> None:
    try:
        answer: int | Exception = memory_of(variant, setting)
    except Exception as error:
        answer = error
    sender.send(answer)
