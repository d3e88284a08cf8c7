"""Scores of a finished run's samples, in the influence's sense: positive says that a sample does harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.cli.asking import influence_of, recorded
from metaweight.core.console import Terminal
from metaweight.core.contracts import Forward
from metaweight.core.csv_text import read_csv
from metaweight.core.modes import evaluating
from metaweight.core.registry import Registry
from metaweight.data.seeding import derive
from metaweight.influence import WholeRun
from metaweight.report.suspects import require_cleanlab
from metaweight.tasks.identity import OPTIONS
from metaweight.training.history import Source
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

NEIGHBOURS = 10
COSTLY = ("influence", "knn")
"""These take training; what the others lack is said before."""


class NoScoreError(ValueError):
    """A score that this run does not have: the message says why."""


@dataclass(frozen=True)
class Of:
    """What scores are made of."""

    console: Terminal
    run: WholeRun
    asked: Source
    """The rows whose loss is asked about."""
    samples: SampleWeights
    """Those of the run."""
    weighed: SampleWeights
    """The same, or those of another run of the same data."""
    seed: int

    def placed(self, index: Tensor, values: Tensor) -> Tensor:
        """``values`` [n] of the samples ``index`` [n] at their positions [N], NaN elsewhere."""
        whole = torch.full((len(self.run.steps.weights),), math.nan, dtype=torch.float64)
        whole[index.cpu()] = values.to("cpu", torch.float64)
        return whole


Make = Callable[[Of], Tensor]
"""[N] float64, NaN for a sample that it says nothing of.  Raises NoScoreError."""
scores: Registry[Make] = Registry("score")


@scores.register("influence")
def _influence(of: Of) -> Tensor:
    return influence_of(of.console, of.run, of.asked).values


@scores.register("weights")
def _weights(of: Of) -> Tensor:
    means = of.weighed.mean_weight()
    known = means[means.isfinite()]
    if not len(known) or bool((known == known[0]).all()):
        raise NoScoreError(
            "all weights are equal and say nothing of single samples; --weights-of TEACHER_RUN scores those "
            "that a teacher gave the same samples"
        )
    return of.placed(of.weighed.index, -means)


@scores.register("cleanlab")
def _cleanlab(of: Of) -> Tensor:
    """Minus the self-confidence, by which cleanlab ranks label issues.  Northcutt et al. (2021)."""
    given, probabilities = of.samples.given, of.samples.probabilities
    if given is None or probabilities is None:
        raise NoScoreError("the run keeps no probabilities of classes by sample, which cleanlab needs")
    require_cleanlab()
    from cleanlab.rank import get_self_confidence_for_each_label

    quality = get_self_confidence_for_each_label(given.numpy(), probabilities.double().numpy())
    return of.placed(of.samples.index, -torch.from_numpy(quality))


@scores.register("knn")
def _knn(of: Of) -> Tensor:
    """Minus the share of the nearest trusted rows, at the end of the run, that have the given label.

    Nearness is the cosine of the deepest tap's states, or of the logits, the trusted mean taken off.
    """
    samples, run = of.samples, of.run
    if samples.given is None or samples.probabilities is None:
        raise NoScoreError("it compares labels of classes, one a sample, and this run's samples have none")
    recorded(of.console, run)
    run.recording.end().put_pass(run.student)
    trusted, labels, _ = _states(run, run.rows("meta"))
    states, given, index = _states(run, run.rows("train"))
    middle = trusted.mean(0)
    near = F.normalize(states - middle, dim=1) @ F.normalize(trusted - middle, dim=1).T
    nearest = labels[near.topk(min(NEIGHBOURS, len(labels)), dim=1).indices]
    return of.placed(index, -(nearest == given[:, None]).double().mean(1))


@scores.register("random")
def _random(of: Of) -> Tensor:
    generator = derive(of.seed, "random score")
    return torch.randn(len(of.run.steps.weights), generator=generator, dtype=torch.float64)


@torch.no_grad()
def _states(run: WholeRun, rows: Source) -> tuple[Tensor, Tensor, Tensor]:
    """States [n, D], labels [n] and positions [n], on the CPU."""
    student, found = run.student, []
    with evaluating(student.module):
        for position in range(len(rows)):
            batch = rows.batch(0, position).to(student.device)
            forward: Forward = student(batch)
            states = forward.features[student.taps[-1]] if student.taps else forward.outputs
            found.append((states.flatten(1).cpu(), batch.targets.flatten().cpu(), batch.index.cpu()))
    states, labels, index = map(torch.cat, zip(*found, strict=True))
    return states, labels, index


def read_file(path: Path, samples: int) -> Tensor:
    """Scores [N] of a CSV file with ``index`` and the scores in its first other column.

    Raises FileNotFoundError, and ValueError that names the file for anything else in it.
    """
    rows = read_csv(path, columns=("index",))
    names = [name for name in rows[0] if name != "index"] if rows else []
    if not names:
        raise ValueError(
            f"{path} has no scores: it needs a column 'index', one of scores, and a row a sample"
        )
    values = torch.full((samples,), math.nan, dtype=torch.float64)
    for number, row in enumerate(rows, start=1):
        try:
            place, value = int(row["index"]), float(row[names[0]] or "nan")
        except ValueError as error:
            raise ValueError(
                f"{path}, row {number}: 'index' is a whole number and {names[0]!r}, the first other column, "
                f"a score: {error}"
            ) from error
        if not 0 <= place < samples:
            raise ValueError(f"{path}, row {number}: index {place} is none of the run's, 0 to {samples - 1}")
        values[place] = value
    return values


def weights_of(other: Path, run: RunFolder) -> SampleWeights:
    """The weights of the run in ``other``.  Raises ValueError unless it is of the same data as ``run``."""
    theirs = RunFolder.open(other)
    parts, own = (folder.manifest().get("digests", {}) for folder in (theirs, run))
    differing = [part for part in {**own, **parts} if part != OPTIONS and own.get(part) != parts.get(part)]
    if differing or not own:
        which = ", ".join(differing) or "no digests are kept, so that nobody can tell"
        raise ValueError(
            f"{other} is not of the same data as {run.path} ({which}): name a run with the same data, noise, "
            "seed and trusted rows, and without probes"
        )
    return theirs.read_weights()


def require_known(names: Sequence[str]) -> None:
    """Raise KeyError for a score that is neither known nor a CSV file, ValueError for one named twice."""
    called = [called_of(name) for name in names]
    for name in names:
        if not _is_file(name):
            _ = scores[name]
    if twice := sorted({name for name in called if called.count(name) > 1}):
        raise ValueError(f"two scores are called {twice[0]!r}: name each once, files by names of their own")


def called_of(name: str) -> str:
    """What a score is called: a file without folder and ending."""
    return Path(name).stem if _is_file(name) else name


def scored(name: str, of: Of) -> Tensor:
    """The score ``name`` [N]; raises as ``Make`` and ``read_file``."""
    if _is_file(name):
        return read_file(Path(name), len(of.run.steps.weights))
    return scores[name](of)


def _is_file(name: str) -> bool:
    return name.lower().endswith(".csv")
