"""BLEU and chrF by sacrebleu's own classes, each with its signature, and how sure one can be of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from metaweight.core.plain_text import is_empty
from metaweight.tasks.translation.tokenizers import DEFAULT, bleu_with

SEED = 12345
"""What sacrebleu draws its resamples from unless SACREBLEU_SEED says otherwise."""


@dataclass(frozen=True)
class TranslationScores:
    """Corpus scores of detokenised text, in percent, and how sacrebleu got them (name and signature)."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str
    hypothesis_length: int
    """Tokens of BLEU's tokenizer, as is the references' length."""
    reference_length: int
    sentences: int
    tokenize: str = DEFAULT
    """BLEU's tokenizer, by sacrebleu's name."""
    blank_hypotheses: int = 0
    blank_references: int = 0
    """Sentences that show nothing."""


@dataclass(frozen=True, eq=False)
class Statistics:
    """Counts [N, k] int64 of N sentences; the score of any subset is the metric's of the sums.

    Two Statistics can be compared where their ``signature`` is the same.
    """

    counts: NDArray[np.int64]
    signature: str
    metric: BLEU | CHRF = field(repr=False)

    def __len__(self) -> int:
        return len(self.counts)

    def score(self, rows: NDArray[np.int64] | None = None) -> float:
        """Corpus score of the sentences ``rows`` (repeats allowed), by default of all; in percent."""
        counts = self.counts if rows is None else self.counts[rows]
        return float(self.metric._compute_score_from_stats(counts.sum(axis=0).tolist()).score)


@dataclass(frozen=True)
class PairedResult:
    """A system against a baseline on the same sentences, in points of the metric."""

    difference: float
    """System less baseline, on all sentences."""
    low: float
    high: float
    """Percentile interval of the difference."""
    p_value: float


def score(
    hypotheses: Sequence[str], references: Sequence[str], *, tokenize: str = DEFAULT
) -> TranslationScores:
    """Corpus BLEU and chrF2 of detokenised hypotheses against one reference each, case and all.

    ``tokenize``: BLEU's tokenizer, by sacrebleu's name.  A line that shows nothing (see ``is_empty``) has no
    tokens and no characters.  Raises ValueError for different numbers of lines, no line, and a tokenizer that
    is unknown or lacks what it needs.
    """
    hypotheses, references = _checked_lines(hypotheses, references)
    bleu, chrf = bleu_with(tokenize), CHRF()
    words = bleu.corpus_score(hypotheses, [references])
    characters = chrf.corpus_score(hypotheses, [references])
    return TranslationScores(
        bleu=float(words.score),
        chrf=float(characters.score),
        bleu_signature=f"{words.name}|{bleu.get_signature()}",
        chrf_signature=f"{characters.name}|{chrf.get_signature()}",
        hypothesis_length=int(words.sys_len),
        reference_length=int(words.ref_len),
        sentences=len(hypotheses),
        tokenize=tokenize,
        blank_hypotheses=sum(not line for line in hypotheses),
        blank_references=sum(not line for line in references),
    )


def bleu_statistics(
    hypotheses: Sequence[str], references: Sequence[str], *, tokenize: str = DEFAULT
) -> Statistics:
    """BLEU's counts [N, 10]: both lengths, then matches and totals of 1- to 4-grams.  Raises as ``score``."""
    return _statistics(bleu_with(tokenize), *_checked_lines(hypotheses, references))


def chrf_statistics(hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
    """chrF2's counts [N, 18]: of hypothesis, reference and matches for each order.  Raises as ``score``."""
    return _statistics(CHRF(), *_checked_lines(hypotheses, references))


def pool_runs(runs: Sequence[Statistics]) -> Statistics:
    """Several runs (seeds) on one test set as one: the score is that of all their translations together.

    A sentence's counts add up over the runs, so that a resample draws sentences with all their
    translations: those of a hard sentence are bad together, and N·runs rows would make the interval too
    narrow.  Raises ValueError for no run, or runs that differ in length or signature.
    """
    if not runs:
        raise ValueError("pooling needs at least one run, got none")
    for run in runs[1:]:
        _check_same(runs[0], run)
    counts = np.stack([run.counts for run in runs]).sum(axis=0)
    return Statistics(counts, runs[0].signature, runs[0].metric)


def bootstrap_interval(
    statistics: Statistics, *, samples: int = 1000, level: float = 0.95, seed: int = SEED
) -> tuple[float, float]:
    """Percentile interval (low, high) of the corpus score over ``samples`` resamples of the sentences.

    The resamples are those that sacrebleu draws from the same seed.  Koehn (2004).
    Raises ValueError for a level outside (0, 1) or no resample.
    """
    scores = [statistics.score(rows) for rows in _resamples(len(statistics), samples, seed)]
    return _percentiles(np.array(scores), level)


def paired_bootstrap(
    baseline: Statistics, system: Statistics, *, samples: int = 1000, level: float = 0.95, seed: int = SEED
) -> PairedResult:
    """Is the system's difference d to the baseline more than the choice of test sentences explains?

    Two-sided, with the resamples and the p-value of sacrebleu's ``--paired-bs``: with the differences d* on
    the same resampled sentences of both, p = (c + 1) / (samples + 1), where c counts resamples with
    |d*| - mean |d*| > |d|.  The mean of |d*| stands for the null's centre, so p is rarely above 0.5.
    Difference 1 to sacrebleu: where no resample has any difference, p is 1, not 1 / (samples + 1).
    Raises ValueError as ``bootstrap_interval``, and where lengths or signatures differ.
    """
    _check_same(baseline, system)
    resamples = _resamples(len(system), samples, seed)
    differences = np.array([system.score(rows) - baseline.score(rows) for rows in resamples])
    low, high = _percentiles(differences, level)
    difference = system.score() - baseline.score()
    sizes = np.abs(differences)
    beyond = int((sizes - sizes.mean() > abs(difference)).sum())
    p_value = (beyond + 1) / (samples + 1) if differences.any() else 1.0
    return PairedResult(difference, low, high, p_value)


def _statistics(metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
    counts = np.array(metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.int64)
    name = metric._compute_score_from_stats(counts.sum(axis=0).tolist()).name
    return Statistics(counts, f"{name}|{metric.get_signature()}", metric)


def _resamples(size: int, samples: int, seed: int) -> NDArray[np.int64]:
    """Positions [samples, size] with repeats: numpy's generator and call, because they are sacrebleu's."""
    if samples < 1:
        raise ValueError(f"samples is a positive number of resamples, got {samples}")
    return np.random.default_rng(seed).choice(size, size=(samples, size), replace=True)


def _percentiles(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    """The values that leave out the same whole number of them, at most (1 - level) / 2, at each end."""
    if not 0 < level < 1:
        raise ValueError(f"level is a share in (0, 1), got {level}")
    ascending = np.sort(values)
    # the epsilon: (1 - 0.95) / 2 * 1000 is 25.00000000000002, and could as well be 24.99999
    outside = int(len(ascending) * (1 - level) / 2 + 1e-9)
    return float(ascending[outside]), float(ascending[len(ascending) - 1 - outside])


def _checked_lines(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[list[str], list[str]]:
    """Both, with nothing at all for a line that shows nothing."""
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError("hypotheses and references are sequences of sentences, got one string")
    if len(hypotheses) != len(references):
        raise ValueError(
            f"{len(hypotheses)} hypotheses and {len(references)} references: one line each, in the same order"
        )
    if not hypotheses:
        raise ValueError("a score needs at least one sentence, got none")
    one, other = ([("" if is_empty(line) else line) for line in side] for side in (hypotheses, references))
    return one, other


def _check_same(one: Statistics, other: Statistics) -> None:
    if len(one) != len(other):
        raise ValueError(
            f"statistics of {len(one)} and of {len(other)} sentences: compare on one and the same test set"
        )
    if one.signature != other.signature:
        raise ValueError(f"scores of two kinds cannot be compared: {one.signature} and {other.signature}")
