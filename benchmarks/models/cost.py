"""What an iteration of each engine costs on a model, in plain steps; in rounds, as benchmarks.speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

import metaweight as mw
from benchmarks.models.answers import engine_for, line
from benchmarks.models.zoo import BATCH, Model
from benchmarks.speed.measure import Timing, interleaved
from benchmarks.speed.variants import PLAIN, Variant

SCHEDULES = ("lookahead", "online")
WARMUP = 1
Iterate = Callable[[Sequence[mw.Batch], mw.Batch], object]


def timings_of(
    model: Model, engines: Sequence[str], rounds: int, seed: int
) -> tuple[list[Timing], dict[str, str]]:
    """Timings of the plain step and of every engine in both schedules, and why others have none."""
    generator = torch.Generator().manual_seed(seed)
    units = BATCH["small"]
    pairs = [
        (model.batch("small", units, 0, generator), model.batch("small", units, units, generator))
        for _ in range(WARMUP + rounds)
    ]
    iterates: dict[Variant, Iterate] = {PLAIN: _plain(model, seed)}
    refused = {}
    for variant in (Variant(engine=e, schedule=s) for e in engines for s in SCHEDULES):
        try:
            iterate = _weighted(model, variant, pairs[0][0], seed)
            iterate([pairs[0][0]], pairs[0][1])  # engines look at a student in its first batch
        except Exception as error:
            ours = isinstance(error, mw.MetaweightError | ValueError | TypeError)
            refused[variant.name] = line(error) if ours else f"{type(error).__name__}: {line(error)}"
        else:
            iterates[variant] = iterate
    interleaved(iterates, pairs[:WARMUP], generator)
    return interleaved(iterates, pairs[WARMUP:], generator), refused


def _built(model: Model, seed: int) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = model.build("small").train()
    return module, model.optimizer([p for p in module.parameters() if p.requires_grad])


def _plain(model: Model, seed: int) -> Iterate:
    """The loop that everybody writes."""
    module, optimizer = _built(model, seed)

    def iterate(train: Sequence[mw.Batch], _meta: mw.Batch) -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs = module(**train[0].inputs)
        logits = outputs if isinstance(outputs, torch.Tensor) else outputs.logits
        units = model.loss(logits, train[0].targets)
        (units if isinstance(units, torch.Tensor) else units.loss).mean().backward()
        optimizer.step()

    return iterate


def _weighted(model: Model, variant: Variant, batch: mw.Batch, seed: int) -> Iterate:
    module, optimizer = _built(model, seed)
    student = model.student(module)
    teacher = mw.build_teacher("mw-net", spec=student.spec(batch))
    assert variant.engine is not None
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=optimizer,
        teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=1e-3),
        engine=engine_for(variant.engine, optimizer),
        schedule=variant.schedule,
    )
    return lambda train, meta: reweighter.step(train[0], meta)
