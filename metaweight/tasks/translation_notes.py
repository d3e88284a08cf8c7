"""What stands under the table of translations: intervals, significance, kinds of noise, signatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metaweight.metrics.translation import (
    Statistics,
    bleu_statistics,
    bootstrap_interval,
    paired_bootstrap,
    pool_runs,
)
from metaweight.metrics.weights import mean_and_spread
from metaweight.tasks.outcome import Finished

BASELINE = "uniform"
SAMPLES = 1000


def notes(runs: Sequence[Finished]) -> Sequence[str]:
    """Markdown paragraphs: BLEU with intervals against ``uniform``, AUROC by kind of noise, signatures."""
    blocks: dict[str, dict[str, list[Finished]]] = {}
    for run in runs:
        blocks.setdefault(run.noise, {}).setdefault(run.config.teacher, []).append(run)
    paragraphs = []
    for noise, arms in blocks.items():
        paragraphs.append(f"**BLEU against {BASELINE}, noise {noise}**\n\n{_significance(arms)}")
        kinds = _by_kind(arms)
        if kinds:
            paragraphs.append(f"**AUROC of the weights by kind of bad pair, noise {noise}**\n\n{kinds}")
    return [*paragraphs, _signatures(runs)]


def _significance(arms: Mapping[str, Sequence[Finished]]) -> str:
    """A line an arm: pooled BLEU with its interval, and the paired difference to the baseline."""
    counts = {teacher: _statistics(runs) for teacher, runs in arms.items()}
    baseline = counts.get(BASELINE)
    lines = [_row("teacher", "BLEU, all seeds' sentences [95 %]", f"less {BASELINE} [95 %]", "p")]
    lines.append(_row("---", "---:", "---:", "---:"))
    for teacher, statistics in counts.items():
        low, high = bootstrap_interval(statistics, samples=SAMPLES)
        cells = [teacher, f"{statistics.score():.1f} [{low:.1f}, {high:.1f}]", "-", "-"]
        if baseline is not None and teacher != BASELINE and len(arms[teacher]) == len(arms[BASELINE]):
            paired = paired_bootstrap(baseline, statistics, samples=SAMPLES)
            cells[2:] = [
                f"{paired.difference:+.1f} [{paired.low:+.1f}, {paired.high:+.1f}]",
                f"{paired.p_value:.3f}",
            ]
        lines.append(_row(*cells))
    return "\n".join(lines)


def _statistics(runs: Sequence[Finished]) -> Statistics:
    """BLEU's counts of an arm, added up sentence by sentence where its seeds share a test set.

    Where each seed draws its own test set (cldr), the sets stand one after the other.
    """
    ordered = sorted(runs, key=lambda run: run.config.seed)
    texts = [(_lines(run.folder / "hypothesis.txt"), _lines(run.folder / "reference.txt")) for run in ordered]
    if all(references == texts[0][1] for _, references in texts):
        return pool_runs([bleu_statistics(*text) for text in texts])
    hypotheses, references = ([line for text in texts for line in text[side]] for side in (0, 1))
    return bleu_statistics(hypotheses, references)


def _lines(path: Path) -> list[str]:
    # not splitlines(), which cuts at characters that a sentence may hold
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def _by_kind(arms: Mapping[str, Sequence[Finished]]) -> str:
    """A line an arm: AUROC of each kind against the good pairs; empty where there is no noise."""
    first = next(iter(arms.values()))[0]
    names = [name for name in first.outcome.figures if name.startswith("auroc_")]
    if not names:
        return ""
    lines = [_row("teacher", *(name.removeprefix("auroc_") for name in names))]
    lines.append(_row("---", *["---:"] * len(names)))
    for teacher, runs in arms.items():
        means = [mean_and_spread([run.outcome.figures[name] for run in runs])[0] for name in names]
        lines.append(_row(teacher, *(f"{mean:.2f}" for mean in means)))
    return "\n".join(lines)


def _signatures(runs: Sequence[Finished]) -> str:
    scores = [run.outcome.details["scores"] for run in runs]
    found = dict.fromkeys(s[name] for s in scores for name in ("bleu_signature", "chrf_signature"))
    return (
        f"{', '.join(found)}; {SAMPLES:,} resamples. p: two-sided, paired bootstrap over sentences "
        "(sacrebleu); it does not know how much seeds differ."
    )


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
