"""What a student cannot be, and plainer words for what torch says of a pass that fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from metaweight.core.batch import Batch
from metaweight.core.registry import did_you_mean

_DEVICES = ("same device", "expected device", "on device", "device type")
_TYPES = (
    "same dtype",
    "expected scalar type",
    "should be the same",
    "mixed dtype",
    "to have dtype",
    "dtypes",
)
_ONE_VALUE = "Expected more than 1 value per channel when training"


def refuse_wrapped(module: object) -> None:
    """Raise TypeError for what is no module, ValueError for one whose parameters engines cannot swap."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"a Student takes a torch module, got {_kind(module)}")
    for name, part in module.named_modules():
        where = f"submodule {name!r}" if name else "the student"
        # a compiled call keeps using the parameters it was traced with, so no weight would ever move
        if hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None:
            raise ValueError(
                f"{where} is compiled: engines cannot swap its parameters; pass the plain module"
            )
        if isinstance(part, nn.DataParallel):
            raise ValueError(
                f"{where} is wrapped in DataParallel, whose copies engines cannot reach: give the module as "
                "it was, and start a process for each device with torchrun"
            )
        if isinstance(part, nn.parallel.DistributedDataParallel):
            raise ValueError(
                f"{where} is wrapped in DistributedDataParallel inside of the student: wrap the whole "
                "module, Student(DistributedDataParallel(module))"
            )


def require_taps(module: nn.Module, taps: Sequence[str]) -> None:
    """Raise KeyError for a tap that is no submodule of ``module``, TypeError for a single name."""
    if isinstance(taps, str):
        raise TypeError(f"taps is a sequence of names, got the string {taps!r}; write ({taps!r},)")
    names = {name for name, _ in module.named_modules() if name}
    for tap in taps:
        if tap not in names:
            raise KeyError(f"unknown tap {tap!r}.{did_you_mean(tap, names)}")


def require_student(value: object) -> None:
    """Raise TypeError for what is no Student."""
    if isinstance(value, nn.Module):
        raise TypeError(
            f"a Student is wanted, got the module {type(value).__name__}: write metaweight.Student(module, "
            "loss=..., taps=...)"
        )
    from metaweight.student.student import Student

    if not isinstance(value, Student):
        raise TypeError(f"a Student is wanted, metaweight.Student(module), got {_kind(value)}")


@contextmanager
def explained(module: nn.Module, batch: Batch) -> Iterator[None]:
    """Around a pass: raise ValueError where it fails for another device or type, or a batch of one."""
    try:
        yield
    except (RuntimeError, ValueError, NotImplementedError) as error:
        parameter, message = next(module.parameters()), str(error)
        tensors = [v for v in (*batch.args, *batch.kwargs.values()) if isinstance(v, Tensor)]
        elsewhere = {str(v.device) for v in (*tensors, batch.targets)} - {str(parameter.device)}
        if elsewhere and any(phrase in message for phrase in _DEVICES):
            raise ValueError(
                f"the student is on {parameter.device}, the batch on {', '.join(sorted(elsewhere))}: write "
                "batch.to(student.device)"
            ) from error
        types = {v.dtype for v in tensors if v.is_floating_point()} - {parameter.dtype}
        if types and any(phrase in message for phrase in _TYPES):
            got = ", ".join(sorted(map(str, types)))
            raise ValueError(
                f"the student's parameters are {parameter.dtype}, the batch's inputs {got}: bring both to "
                "one type; for bf16 keep float32 parameters and write Student(..., execution=Execution("
                'precision="bf16"))'
            ) from error
        if _ONE_VALUE in message:
            raise ValueError(
                f"a norm over the batch has nothing to compare with in a batch of {len(batch)} "
                "in training mode: leave a last batch of one out, DataLoader(..., drop_last=True), or call "
                "module.eval() on that norm"
            ) from error
        raise


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
