"""One process of a measurement: a student, its part of each batch, and what it took."""

from __future__ import annotations

import inspect
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

import metaweight as mw

FEATURES, CLASSES = 256, 20


@dataclass(frozen=True)
class Job:
    """What is to be measured."""

    engine: str = "ghost"
    schedule: str = "online"
    width: int = 1024
    depth: int = 4
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """With momentum, or AdamW."""
    sharded: bool = False
    """Whether the processes share the student's parameters out (fully_shard), a layer at a time."""
    batch_size: int = 512
    meta_batch_size: int = 128
    iterations: int = 12
    device: str = "cpu"


@dataclass(frozen=True)
class Taken:
    """What one process measured."""

    seconds: float
    """Median of an iteration."""
    memory: float
    """MiB at its peak, beyond what the process has without a student."""
    sent: float
    """Copies of the parameters that are summed up over processes or gathered from them, an iteration."""
    student: dict[str, Tensor]
    """After ten iterations in float64."""


def module(job: Job, device: str, dtype: torch.dtype) -> nn.Module:
    """Wide layers with norms over features; the same for any number of processes.

    One in shards is never whole in a process: its parameters are made one by one, and cut.
    """
    with torch.device("meta"):
        parts: list[nn.Module] = []
        for number in range(job.depth):
            width = FEATURES if number == 0 else job.width
            parts += [nn.Linear(width, job.width), nn.LayerNorm(job.width), nn.GELU()]
        net = nn.Sequential(*parts, nn.Linear(job.width, CLASSES)).to(dtype)
    if job.sharded:
        for part in (*net, net):
            if any(True for _ in part.parameters()):
                fully_shard(part)
    net.to_empty(device=device)
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in net.named_parameters():
            scale = p.shape[-1] ** -0.5 if p.dim() > 1 else 0.02
            value = scale * torch.randn(p.shape, generator=g) + float(p.dim() == 1 and "weight" in name)
            if isinstance(p, DTensor):
                own = distribute_tensor(value, p.device_mesh, p.placements, src_data_rank=None).to_local()
                p.to_local().copy_(own)
            else:
                p.copy_(value)
    return net


def batch(rows: int, seed: int, dtype: torch.dtype, device: str) -> mw.Batch:
    """Random vectors, classes by a plane."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, FEATURES, generator=g, dtype=torch.float64)
    targets = x[:, :CLASSES].argmax(dim=1)
    return mw.Batch((x.to(dtype),), targets, torch.arange(rows)).to(device)


def work(rank: int, size: int, job: Job, store: str | None) -> Taken:
    """Train in a group of ``size`` that meets at the file ``store``; without a group where that is None."""
    torch.set_num_threads(1)
    backend = "nccl" if job.device == "cuda" else "gloo"
    device = f"cuda:{rank}" if job.device == "cuda" else "cpu"
    if store is not None:
        dist.init_process_group(backend, f"file://{store}", rank=rank, world_size=size)
    try:
        batch(job.batch_size, 0, torch.float32, device)
        before = _held(device)
        live = _reweighter(job, device, torch.float32)
        own = sum(p.numel() * p.element_size() for p in live.student.parameters().values())
        seconds: list[float] = []
        sent: list[int] = []
        for step in range(job.iterations + 2):
            train, meta = _parts(rank, size, job, step, torch.float32, device)
            with sums_counted(sent), gathers_counted(sent):
                started = time.perf_counter()
                live.step(train, meta)
                _settle(device)
                seconds.append(time.perf_counter() - started)
        shares, memory = sum(sent) / own / len(seconds), _peak(device) - before
        del live
        exact = _trained(rank, size, job, device, torch.float64, iterations=10)
        students = {name: _whole(p.detach()).cpu() for name, p in exact.student.parameters().items()}
        return Taken(median(seconds[2:]), memory, shares, students)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _trained(
    rank: int, size: int, job: Job, device: str, dtype: torch.dtype, *, iterations: int
) -> mw.Reweighter:
    live = _reweighter(job, device, dtype)
    for step in range(iterations):
        live.step(*_parts(rank, size, job, step, dtype, device))
    return live


def _reweighter(job: Job, device: str, dtype: torch.dtype) -> mw.Reweighter:
    net = module(job, device, dtype)
    wrapped = DistributedDataParallel(net) if dist.is_initialized() and not job.sharded else net
    student = mw.Student(wrapped, taps=(str(3 * job.depth - 1),))
    spec = student.spec(batch(8, 0, dtype, device))
    torch.manual_seed(1)
    teacher = mw.build_teacher("mlp", spec)
    return mw.Reweighter(
        student,
        teacher,
        optimizer=_optimizer(job, net),
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=1.0),
        engine=job.engine,
        schedule=job.schedule,
    )


def _optimizer(job: Job, net: nn.Module) -> torch.optim.Optimizer:
    if job.optimizer == "adamw":
        return torch.optim.AdamW(net.parameters(), lr=1e-3, eps=1e-4)
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


def _parts(
    rank: int, size: int, job: Job, step: int, dtype: torch.dtype, device: str
) -> tuple[mw.Batch, mw.Batch]:
    train = batch(job.batch_size, 100 + step, dtype, device).part(rank, size)
    return train, batch(job.meta_batch_size, 5000 + step, dtype, device).part(rank, size)


@contextmanager
def sums_counted(sent: list[int]) -> Iterator[None]:
    """Note in ``sent`` the bytes of each tensor that is summed up over processes inside."""
    with _counted("all_reduce", "tensor", sent), _counted("reduce_scatter_single", "input", sent):
        yield


@contextmanager
def gathers_counted(sent: list[int]) -> Iterator[None]:
    """Note in ``sent`` the bytes of each tensor that is put together from shards inside."""
    with _counted("all_gather_single", "output_tensor", sent):
        yield


@contextmanager
def _counted(name: str, which: str, sent: list[int]) -> Iterator[None]:
    """``which``: the argument of ``torch.distributed``'s function ``name`` that is of full length."""
    real = getattr(dist, name)
    signature = inspect.signature(real)

    def counted(*args: Any, **kwargs: Any) -> Any:
        sent.append(signature.bind(*args, **kwargs).arguments[which].nbytes)
        return real(*args, **kwargs)

    setattr(dist, name, counted)
    try:
        yield
    finally:
        setattr(dist, name, real)


def _settle(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


STATUS = Path("/proc/self/status")


def _held(device: str) -> float:
    """MiB at hand, from which on the peak is counted.

    The peak that getrusage gives a new process is that of its parent at least, so Linux is asked itself.
    """
    if device != "cpu" or not STATUS.exists():
        return _peak(device)
    Path("/proc/self/clear_refs").write_text("5")
    return _peak(device)


def _peak(device: str) -> float:
    if device != "cpu":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if STATUS.exists():
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if os.uname().sysname == "Darwin" else 1024)
