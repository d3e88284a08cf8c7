"""What stands under the table of translations: intervals, significance, kinds of noise, signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metaweight.core.markdown import escaped, markdown_table
from metaweight.tasks.figures import mean_text
from metaweight.tasks.outcome import Finished
from metaweight.tasks.translation.bleu import (
    Statistics,
    bleu_statistics,
    bootstrap_interval,
    paired_bootstrap,
    pool_runs,
)
from metaweight.tasks.translation.tokenizers import DEFAULT

BASELINE = "uniform"
SAMPLES = 1000


def notes(runs: Sequence[Finished]) -> Sequence[str]:
    """Markdown paragraphs: BLEU with intervals against ``uniform``, AUROC by kind of noise, signatures."""
    blocks: dict[str, dict[str, list[Finished]]] = {}
    for run in runs:
        blocks.setdefault(run.result.noise, {}).setdefault(run.result.arm, []).append(run)
    paragraphs = []
    for noise, arms in blocks.items():
        paragraphs.append(f"**BLEU against {BASELINE}, noise {escaped(noise)}**\n\n{_significance(arms)}")
        kinds = _by_kind(arms)
        if kinds:
            paragraphs.append(
                f"**AUROC of the weights by kind of bad pair, noise {escaped(noise)}**\n\n{kinds}"
            )
    return [*paragraphs, _signatures(runs)]


def signatures(details: Mapping[str, Any]) -> Mapping[str, str]:
    """Of the scores of a run, by figure."""
    scores = details.get("scores", {})
    names = {"bleu": "bleu_signature", "bleu_greedy": "bleu_signature", "chrf": "chrf_signature"}
    return {figure: scores[name] for figure, name in names.items() if name in scores}


@dataclass(frozen=True)
class _Translated:
    """What one run made of its test set."""

    hypotheses: list[str]
    references: list[str]
    tokenize: str


def _significance(arms: Mapping[str, Sequence[Finished]]) -> str:
    """A line an arm: pooled BLEU with its interval, and the paired difference to the baseline."""
    texts = {arm: {run.result.seed: _translated(run) for run in runs} for arm, runs in arms.items()}
    headings = ("arm", "BLEU, all seeds' sentences [95 %]", f"less {BASELINE} [95 %]", "p")
    rows = []
    for arm, runs in texts.items():
        statistics = _statistics([runs[seed] for seed in sorted(runs)])
        low, high = bootstrap_interval(statistics, samples=SAMPLES)
        cells = [arm, f"{statistics.score():.1f} [{low:.1f}, {high:.1f}]"]
        rows.append((*cells, *_difference(texts.get(BASELINE, {}), runs, arm)))
    return markdown_table(headings, rows)


def _difference(
    baseline: Mapping[int, _Translated], runs: Mapping[int, _Translated], arm: str
) -> tuple[str, str]:
    """Of the seeds that both arms have, where a run of one may have failed; and its p-value."""
    seeds = sorted(baseline.keys() & runs.keys())
    pairs = [(baseline[seed], runs[seed]) for seed in seeds]
    if arm == BASELINE or not pairs or any(one.references != other.references for one, other in pairs):
        return "-", "-"
    paired = paired_bootstrap(*map(_statistics, zip(*pairs, strict=True)), samples=SAMPLES)
    few = "" if len(seeds) == len(runs) else f" ({len(seeds)} of {len(runs)} seeds)"
    return (
        f"{paired.difference:+.1f} [{paired.low:+.1f}, {paired.high:+.1f}]{few}",
        f"{paired.p_value:.3f}",
    )


def _statistics(runs: Sequence[_Translated]) -> Statistics:
    """BLEU's counts of an arm, added up sentence by sentence where its seeds share a test set.

    Where each seed draws its own test set (cldr), the sets stand one after the other.
    """
    tokenize = runs[0].tokenize
    if all(run.references == runs[0].references for run in runs):
        return pool_runs([bleu_statistics(r.hypotheses, r.references, tokenize=r.tokenize) for r in runs])
    hypotheses = [line for run in runs for line in run.hypotheses]
    return bleu_statistics(hypotheses, [line for run in runs for line in run.references], tokenize=tokenize)


def _translated(run: Finished) -> _Translated:
    hypotheses, references = (_lines(run.folder / f"{name}.txt") for name in ("hypothesis", "reference"))
    return _Translated(hypotheses, references, run.result.details["scores"].get("tokenize", DEFAULT))


def _lines(path: Path) -> list[str]:
    # not splitlines(), which cuts at characters that a sentence may hold
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _by_kind(arms: Mapping[str, Sequence[Finished]]) -> str:
    """A line an arm: AUROC of each kind against the good pairs; empty where there is no noise."""
    first = next(iter(arms.values()))[0]
    names = [name for name in first.result.figures if name.startswith("auroc_")]
    if not names:
        return ""
    rows = []
    for arm, runs in arms.items():
        areas = [[run.result.figures[name] for run in runs] for name in names]
        rows.append((arm, *(mean_text(seeds, "{:.2f}") for seeds in areas)))
    return markdown_table(("arm", *(name.removeprefix("auroc_") for name in names)), rows)


def _signatures(runs: Sequence[Finished]) -> str:
    scores = [run.result.details["scores"] for run in runs]
    signatures = dict.fromkeys(s[name] for s in scores for name in ("bleu_signature", "chrf_signature"))
    return (
        f"{', '.join(signatures)}; {SAMPLES:,} resamples. p: two-sided, paired bootstrap over sentences "
        "(sacrebleu); it does not know how much seeds differ."
    )
