"""What an engine makes of a case: right, refused, or at fault, with the kind of the fault."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from engines.property.cases import Case, Live, parts_of, quiet
from engines.property.truth import Right
from torch import Tensor

import metaweight as mw
from metaweight.engines import Engine, Reverse
from metaweight.testing.oracles import live_tensors, relative
from metaweight.testing.rules import changed

OURS = Path(mw.__file__).parent
LOOSE = {"difference": 1e-3}
"""Relative errors of engines that say that they are not exact; another of these is left out."""
ENGINES = [
    name
    for name in mw.engines.names()
    if name != "implicit" and (name in LOOSE or mw.engines.build_engine(name).abilities.exact)
]
"""``implicit`` answers another question."""
NOISE = 1e-11
"""Slopes below this are rounding."""
ROUNDED = 3.0
"""An answer's parameter may be off by this many times what rounding moves it.

Where all is rounding, a step may go either way by its full length.
"""


@dataclass(frozen=True)
class Verdict:
    """One engine's answer to one case."""

    engine: str
    kind: str
    """right, refused, wrong (slopes, meta loss, gradient or end of the steps), crashed, or moved."""
    error: float = 0.0
    """Relative, of an answer."""
    words: str = ""
    """Of a refusal or a crash; what was moved."""

    @property
    def fault(self) -> bool:
        """Whether it is neither right nor refused."""
        return self.kind not in ("right", "refused")


def verdicts(case: Case, live: Live, right: Right) -> Iterator[Verdict]:
    """Of every engine that takes as many steps."""
    for name in ENGINES:
        engine = _engine(name, live)
        if engine.abilities.steps is None or case.steps <= engine.abilities.steps:
            yield _verdict(case, live.twin(), right, name, engine)


def _engine(name: str, live: Live) -> Engine:
    """``reverse`` keeps snapshots where SGD's steps cannot be undone."""
    optimizer = live.optimizer
    undone = isinstance(optimizer, torch.optim.SGD) and all(
        group["momentum"] and not group["nesterov"] for group in optimizer.param_groups
    )
    return Reverse("snapshots") if name == "reverse" and not undone else mw.engines.build_engine(name)


def _verdict(case: Case, live: Live, right: Right, name: str, engine: Engine) -> Verdict:
    try:
        student = mw.Student(live.module, live.loss)
    except (TypeError, ValueError) as refusal:
        return _raised(name, refusal)
    if case.before != "nothing":
        with case.eased(live):
            first = _asked(case, live, student, engine, case.easier())
        if isinstance(first, Exception) and not _refused(first):
            return _raised(name, first)
    before = _all_live(live, student)
    answer = _asked(case, live, student, engine, case.train)
    moved = changed(before, _all_live(live, student))
    if isinstance(answer, Exception) and not _refused(answer):
        return _raised(name, answer)
    if moved:
        return Verdict(name, "moved", words=", ".join(moved))
    if isinstance(answer, Exception):
        return _raised(name, answer)
    errors = _errors(answer, right)
    loose = {"slopes": LOOSE[name]} if name in LOOSE else {}
    wrong = {what: error for what, error in errors.items() if not error <= loose.get(what, 1e-6)}
    if wrong:
        worst = max(wrong, key=lambda what: wrong[what])
        return Verdict(name, "wrong", wrong[worst], " ".join([*wrong, engine.choice.split(":")[0]]))
    return Verdict(name, "right", errors["slopes"])


def _errors(answer: mw.HyperGradient, right: Right) -> dict[str, float]:
    """Relative errors of everything that the answer holds."""
    slopes = torch.cat(answer.grads)
    zeros = {name: torch.zeros_like(value) for name, value in right.parameters.items()}
    errors = {
        "slopes": 0.0 if float((slopes - right.slopes).norm()) <= NOISE else relative(slopes, right.slopes),
        "meta loss": abs(float(answer.meta_loss) - right.meta_loss) / abs(right.meta_loss),
        "gradient": relative(_flat({**zeros, **answer.gradient}), _flat({**zeros, **right.gradient})),
    }
    if answer.end is not None:
        # frozen parameters that passes move are among the buffers there
        moved = {n: value for n, value in answer.end.buffers.items() if n in right.parameters}
        still = {**right.parameters, **moved, **answer.end.parameters}
        buffers = {n: value for n, value in answer.end.buffers.items() if n not in moved}
        beyond = (_flat(still) - _flat(right.parameters)).abs() - ROUNDED * _flat(right.rounded)
        errors["parameters"] = float(beyond.clamp(min=0).norm() / _flat(right.parameters).norm())
        errors["buffers"] = float((_flat(buffers) - _flat(right.buffers)).norm())
    return errors


def _flat(values: Mapping[str, Tensor]) -> Tensor:
    """All numbers in the order of their names; of complex ones both parts."""
    parts = [values[name] for name in sorted(values)]
    reals = [torch.view_as_real(p) if p.is_complex() else p for p in parts]
    return torch.cat([r.detach().double().flatten() for r in reals] or [torch.zeros(1).double()])


def _asked(
    case: Case, live: Live, student: mw.Student, engine: Engine, train: list[mw.Batch]
) -> mw.HyperGradient | Exception:
    sizes = [len(batch) for batch in train]
    leaves = [w.clone().requires_grad_() for w in case.weights[: sum(sizes)].split(sizes)]
    index = torch.cat([batch.index for batch in train])

    def weigh(state: mw.StudentState) -> Tensor:
        return torch.cat(leaves)[torch.searchsorted(index, state.index)]

    with quiet(case.seed):
        try:
            return mw.hypergradient(
                student,
                live.optimizer,
                train,
                case.meta,
                weigh,
                leaves,
                engine,
                max_norm=case.max_norm,
            )
        except Exception as error:
            return error


def _refused(error: Exception) -> bool:
    """Whether it is an error of ours, with words, and not one that passed through us."""
    if isinstance(error, mw.NonFiniteError) or not str(error).strip():
        return False
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    ours = isinstance(error, ValueError | TypeError) and raised_in.is_relative_to(OURS)
    return ours or isinstance(error, mw.MetaweightError)


def _raised(name: str, error: Exception) -> Verdict:
    kind = "refused" if _refused(error) else "crashed"
    return Verdict(name, kind, words=f"{type(error).__name__}: {error}".splitlines()[0][:160])


def _all_live(live: Live, student: mw.Student) -> dict[str, Tensor]:
    flags = torch.tensor([p.requires_grad for p in live.module.parameters()])
    tensors = live_tensors(student, live.optimizer)
    del tensors["the random state"]  # of the caller's fork, see ``_asked``
    memories = {f"memory of {type(p).__name__} {i}": p.memory() for i, p in enumerate(parts_of(live.module))}
    return {**tensors, **memories, "requires_grad": flags, "the loss's memory": live.loss.memory()}
