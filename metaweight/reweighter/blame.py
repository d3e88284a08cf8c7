"""Which samples a NaN comes from, where a norm over the batch has spread it to all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from metaweight.core.batch import Batch
from metaweight.core.contracts import NonFiniteError
from metaweight.student.student import Student


@contextmanager
def blamed(student: Student, batches: Sequence[Batch]) -> Iterator[None]:
    """A NonFiniteError inside that names all samples of one of ``batches`` names those that it comes from.

    The student is to stand, when it arrives here, as before the pass that failed.
    """
    try:
        yield
    except NonFiniteError as error:
        index = error.index
        own = next((one for one in batches if index is not None and _is_of(one, index)), None)
        rows, why = culprits(student, own) if own is not None else (None, "")
        if own is None or rows is None:
            raise
        samples = own.index[rows.to(own.index.device)].cpu()
        names = ", ".join(str(int(i)) for i in samples[:10]) + (", ..." if len(samples) > 10 else "")
        raise NonFiniteError(
            f"losses of all {len(own)} samples of a batch are NaN or infinite; {len(samples)} of them are "
            f"the cause (index {names}): {why}, and a norm over the batch spreads it; mend these samples or "
            "leave them out",
            samples,
        ) from error


def _is_of(batch: Batch, index: Tensor) -> bool:
    return len(batch) > 1 and torch.equal(index.unique(), batch.index.cpu().unique())


def culprits(student: Student, batch: Batch) -> tuple[Tensor | None, str]:
    """The rows whose inputs or targets are not finite, or that alone give such a loss; and why.

    None where all rows do, or none does: then it is not the data.
    """
    bad = torch.zeros(len(batch), dtype=torch.bool)
    for value in (*batch.args, *batch.kwargs.values(), batch.targets):
        if isinstance(value, Tensor) and value.is_floating_point() and len(value) == len(batch):
            bad |= ~value.detach().isfinite().reshape(len(batch), -1).all(dim=1).cpu()
    if 0 < int(bad.sum()) < len(batch):
        return bad.nonzero().flatten(), "their inputs or targets are NaN or infinite"
    alone = torch.tensor([_fails_alone(student, batch, row) for row in range(len(batch))])
    if 0 < int(alone.sum()) < len(batch):
        return alone.nonzero().flatten(), "each of them alone gives a loss that is NaN or infinite"
    return None, ""


def _fails_alone(student: Student, batch: Batch, row: int) -> bool:
    """Whether a batch of this row, twice, has such a loss: a norm in training mode wants two rows."""
    twice = batch.rows(torch.tensor([row, row]))
    try:
        return not bool(student.glance(twice).loss.isfinite().all())
    except (RuntimeError, ValueError):  # a pass that wants other rows beside it says nothing
        return False
