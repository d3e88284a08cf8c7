"""The retrainings behind a certificate: which samples are left out, and what comes of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from metaweight.data.seeding import derive
from metaweight.influence.agreement import Numbers, bootstrap, gain_over, mean_correlation
from metaweight.influence.certificate import Certificate, Gain, Score
from metaweight.influence.mismatch import MismatchError
from metaweight.influence.recording import Recording, Tell
from metaweight.influence.result import Influence
from metaweight.influence.retraining import Kept, Positions, Retraining, Seen, retrained

Scores = Tensor | Influence | Mapping[str, Tensor | Influence]
RANDOM = 10
"""Random sets beside each set of the worst, where no subsets have its size."""
REPEATS = 3


@dataclass(frozen=True)
class Plan:
    """How many samples are left out, and how often."""

    subsets: int
    share: float
    worst: Sequence[float]
    seed: int

    def __post_init__(self) -> None:
        if self.subsets < 3:
            raise ValueError(f"a rank correlation needs 3 subsets or more, got {self.subsets}")
        for share in (self.share, *self.worst):
            if not 0 < share < 1:
                raise ValueError(f"a share of the samples lies between 0 and 1, got {share}")


def certified(
    recording: Recording,
    retraining: Retraining,
    scores: Mapping[str, Numbers],
    plan: Plan,
    kept: Kept,
    *,
    jobs: int,
    tell: Tell,
) -> Certificate:
    """See ``WholeRun.certify``; ``scores``: as ``read_scores`` gives them."""
    losses, seen = _unchanged(recording, retraining)
    drawn = [random_set(seen, plan.share, plan.seed, number) for number in range(plan.subsets)]
    random = {share: _beside(seen, share, plan) for share in plan.worst}
    worst = {
        (name, share): worst_set(values.mean(0), seen, share, plan.seed)
        for name, values in scores.items()
        for share in plan.worst
    }
    everything = [*drawn, *(one for sets in random.values() for one in sets), *worst.values()]
    retrained(retraining, everything, kept, jobs=jobs, tell=tell)

    def found(sets: Sequence[Positions]) -> Numbers:
        return np.array([kept.of(one) for one in sets])

    real = found(drawn).T
    gains = {
        (name, share): Gain(share, *gain_over(found(random[share]).mean(1), float(found([one]).mean())))
        for (name, share), one in worst.items()
    }
    rows = []
    weights = recording.steps.weights.to(torch.float64).numpy()
    for name, values in scores.items():
        changes = [-(weights[one] * values[:, one]).sum(1) for one in drawn]
        predicted = np.broadcast_to(np.stack(changes, axis=1), real.shape)
        lds = mean_correlation(predicted, real)
        low, high = bootstrap(predicted, real, seed=plan.seed) or (None, None)
        rows.append(Score(name, lds, low, high, tuple(gains[name, share] for share in plan.worst)))
    return Certificate(
        scores=tuple(rows),
        loss=float(losses.mean()),
        spread=float(real.mean(0).std(ddof=1)),
        noise=None if len(losses) == 1 else float(losses.mean(1).std(ddof=1)),
        subsets=plan.subsets,
        share=plan.share,
        samples=len(seen),
        targets=len(real),
        mode=retraining.mode,
        seed=plan.seed,
    )


def read_scores(scores: Scores, samples: int, targets: int) -> dict[str, Numbers]:
    """Name -> [1 or Q, N], 0 where there is none; a single one is called after what it is.

    Raises ValueError for scores of another shape, and infinite ones.
    """
    single = "influence" if isinstance(scores, Influence) else "score"
    by_name = scores if isinstance(scores, Mapping) else {single: scores}
    if not by_name:
        raise ValueError("there is no score to certify")
    return {name: _values(name, given, samples, targets) for name, given in by_name.items()}


def _values(name: str, given: Tensor | Influence, samples: int, targets: int) -> Numbers:
    values = given.values if isinstance(given, Influence) else given
    if values.dim() not in (1, 2) or values.shape[-1] != samples or values.shape[:-1] not in ((), (targets,)):
        raise ValueError(
            f"scores of {samples} samples for {targets} targets are [{samples}] or [{targets}, {samples}], "
            f"{name!r} has shape {tuple(values.shape)}"
        )
    values = values.detach().to("cpu", torch.float64).nan_to_num(0.0, torch.inf, -torch.inf)
    if bool(values.isinf().any()):
        raise ValueError(f"the scores {name!r} are not finite: give a large number instead")
    numbers: Numbers = values.reshape(-1, samples).numpy()
    return numbers


def _unchanged(recording: Recording, retraining: Retraining) -> tuple[Numbers, Positions]:
    """Losses [1 or REPEATS, Q] of retrainings at the run's own weights, and the samples that batches had.

    Raises MismatchError where they do not end where the recorded run does and that is an error.
    """
    seen = Seen(retraining.steps.source)
    watched = replace(retraining, steps=replace(retraining.steps, source=seen))
    losses = []
    for number in range(1 if recording.keeping.stops else REPEATS):
        end = (watched if number == 0 else retraining).end(retraining.steps.weights)
        what = end.differs(recording.end()) if recording.keeping.stops else None
        if what is not None:
            _explain(recording, what)
        losses.append(retraining.targets.losses(retraining.student, end, retraining.mode))
    return np.array(losses), np.array(sorted(seen.samples), dtype=np.int64)


def _explain(recording: Recording, what: str) -> None:
    places = recording.segments.places
    for first, end in itertools.pairwise(places):
        with recording.again(first, end):  # raises, in words, where the run is another one
            pass
    raise MismatchError(
        f"trained again from its first state the run ends elsewhere ({what} differs), though each part of it "
        "by itself ends where it did: a kernel adds in an order of its own now and then, or the student "
        "keeps state outside of buffers. on_difference='recorded' says how much that is"
    )


def random_set(seen: Positions, share: float, seed: int, number: int) -> Positions:
    """The same for all scores, and as a subset and beside the worst of one size."""
    size = _size(seen, share)
    order = torch.randperm(len(seen), generator=derive(seed, "left out", size, number)).numpy()
    return np.sort(seen[order[:size]])


def _beside(seen: Positions, share: float, plan: Plan) -> list[Positions]:
    same = _size(seen, share) == _size(seen, plan.share)
    count = max(RANDOM, plan.subsets) if same else RANDOM
    return [random_set(seen, share, plan.seed, number) for number in range(count)]


def worst_set(values: Numbers, seen: Positions, share: float, seed: int) -> Positions:
    """Those of the highest score; of equal ones some at random.

    By the score alone, and not by weight x score: samples of much weight move the loss more, either way, and
    random scores would not pick random sets.
    """
    order = torch.randperm(len(seen), generator=derive(seed, "ties")).numpy()
    shuffled = seen[order]
    by_score = shuffled[np.argsort(-values[shuffled], kind="stable")]
    return np.sort(by_score[: _size(seen, share)])


def _size(seen: Positions, share: float) -> int:
    return min(max(1, round(share * len(seen))), len(seen) - 1)
