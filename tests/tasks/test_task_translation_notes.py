"""What stands under the table of translations, from files written by hand, against the metric itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from metaweight.tasks.outcome import Finished, RunResult
from metaweight.tasks.translation.bleu import (
    Statistics,
    bleu_statistics,
    bootstrap_interval,
    paired_bootstrap,
    pool_runs,
)
from metaweight.tasks.translation.notes import notes

REFERENCES = tuple(f"the cat number {n} sat on a red mat of {n % 3} feet" for n in range(20))
OTHERS = tuple(f"a dog called {n} ran to the old house of {n % 4} doors" for n in range(15))
SIGNATURES = {"bleu_signature": "BLEU|a", "chrf_signature": "chrF2|b"}


def spoilt(references: Sequence[str], every: int) -> list[str]:
    """Each ``every``-th sentence loses its last three words, the one after it gets other ones."""
    words = [sentence.split() for sentence in references]
    cut = [w[:-3] if n % every == 0 else w for n, w in enumerate(words)]
    return [" ".join(["no", "such", *w[2:]] if n % every == 1 else w) for n, w in enumerate(cut)]


def finished(
    folder: Path,
    arm: str,
    seed: int,
    hypotheses: Sequence[str],
    references: Sequence[str] = REFERENCES,
    *,
    noise: str = "mixed@0.4",
    **figures: float | None,
) -> Finished:
    place = folder / f"{noise}.{arm}.{seed}"
    place.mkdir()
    for name, lines in {"hypothesis.txt": hypotheses, "reference.txt": references}.items():
        (place / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    result = RunResult(arm, noise, seed, figures, history=(), details={"scores": SIGNATURES})
    return Finished(result, place)


def shown(system: Statistics) -> str:
    low, high = bootstrap_interval(system)
    return f"{system.score():.1f} [{low:.1f}, {high:.1f}]"


def compared(baseline: Statistics, system: Statistics) -> tuple[str, str]:
    paired = paired_bootstrap(baseline, system)
    return f"{paired.difference:+.1f} [{paired.low:+.1f}, {paired.high:+.1f}]", f"{paired.p_value:.3f}"


def test_seeds_with_one_test_set_are_added_up_sentence_by_sentence(tmp_path: Path) -> None:
    texts = {
        ("uniform", 0): spoilt(REFERENCES, 2),
        ("uniform", 1): spoilt(REFERENCES, 3),
        ("mlp", 1): spoilt(REFERENCES, 4),
        ("mlp", 0): spoilt(REFERENCES, 7),
    }
    table, signatures = notes([finished(tmp_path, *arm, text) for arm, text in texts.items()])
    plain, learned = (
        pool_runs([bleu_statistics(texts[teacher, seed], REFERENCES) for seed in (0, 1)])
        for teacher in ("uniform", "mlp")
    )
    assert table.startswith("**BLEU against uniform, noise mixed@0.4**\n\n| arm |")
    rows = table.splitlines()[4:]
    assert rows[0] == f"| uniform | {shown(plain)} | - | - |"
    difference, p = compared(plain, learned)
    assert rows[1] == f"| mlp | {shown(learned)} | {difference} | {p} |"
    assert signatures.startswith("BLEU|a, chrF2|b; 1,000 resamples.")


def test_each_seeds_own_test_set_stands_behind_the_others(tmp_path: Path) -> None:
    texts = {
        ("mlp", 1): (spoilt(OTHERS, 5), OTHERS),
        ("mlp", 0): (spoilt(REFERENCES, 6), REFERENCES),
        ("uniform", 0): (spoilt(REFERENCES, 2), REFERENCES),
        ("uniform", 1): (spoilt(OTHERS, 3), OTHERS),
    }
    table, _ = notes([finished(tmp_path, *arm, *text) for arm, text in texts.items()])
    plain, learned = (
        bleu_statistics(
            [*texts[teacher, 0][0], *texts[teacher, 1][0]],
            [*REFERENCES, *OTHERS],
        )
        for teacher in ("uniform", "mlp")
    )
    difference, p = compared(plain, learned)
    assert f"| mlp | {shown(learned)} | {difference} | {p} |" in table
    assert f"| uniform | {shown(plain)} | - | - |" in table


def test_an_arm_that_lost_a_seed_is_compared_on_the_others(tmp_path: Path) -> None:
    """Both lost one, but not the same: their numbers of runs are equal and their test sets are not."""
    uniform = [spoilt(REFERENCES, 2), spoilt(OTHERS, 3)]
    learned = {1: spoilt(OTHERS, 6), 2: spoilt(REFERENCES, 5)}
    runs = [
        finished(tmp_path, "uniform", 0, uniform[0]),
        finished(tmp_path, "uniform", 1, uniform[1], OTHERS),
        finished(tmp_path, "mlp", 1, learned[1], OTHERS),
        finished(tmp_path, "mlp", 2, learned[2]),
    ]
    table, _ = notes(runs)
    difference, p = compared(bleu_statistics(uniform[1], OTHERS), bleu_statistics(learned[1], OTHERS))
    assert f"| {difference} (1 of 2 seeds) | {p} |" in table
    table, _ = notes([runs[0], runs[2]])
    assert table.splitlines()[-1].endswith("] | - | - |")


def test_without_uniform_or_on_other_sentences_nothing_is_compared(tmp_path: Path) -> None:
    alone = finished(tmp_path, "mlp", 0, spoilt(REFERENCES, 3))
    own = shown(bleu_statistics(spoilt(REFERENCES, 3), REFERENCES))
    table, _ = notes([alone])
    assert table.splitlines()[-1] == f"| mlp | {own} | - | - |"
    table, _ = notes([alone, finished(tmp_path, "uniform", 0, spoilt(OTHERS, 3), OTHERS)])
    assert [row.endswith("] | - | - |") for row in table.splitlines()[4:]] == [True, True]


def test_auroc_by_kind_is_a_mean_and_undefined_is_a_dash(tmp_path: Path) -> None:
    runs = [
        finished(tmp_path, "mlp", seed, REFERENCES, auroc=0.1, auroc_copied=value, auroc_doubled=None)
        for seed, value in enumerate((0.9, 0.8))
    ]
    _, kinds, _ = notes(runs)
    assert kinds.splitlines() == [
        "**AUROC of the weights by kind of bad pair, noise mixed@0.4**",
        "",
        "| arm | copied | doubled |",
        "| --- | ---: | ---: |",
        "| mlp | 0.85 | - |",
    ]


def test_every_kind_of_noise_has_its_own_paragraphs(tmp_path: Path) -> None:
    clean = finished(tmp_path, "uniform", 0, REFERENCES, noise="none", auroc=None)
    noisy = finished(tmp_path, "uniform", 0, spoilt(REFERENCES, 2), auroc=0.5, auroc_copied=0.5)
    paragraphs = notes([clean, noisy])
    assert [text.splitlines()[0] for text in paragraphs[:3]] == [
        "**BLEU against uniform, noise none**",
        "**BLEU against uniform, noise mixed@0.4**",
        "**AUROC of the weights by kind of bad pair, noise mixed@0.4**",
    ]
    assert "| uniform | 100.0 [100.0, 100.0] | - | - |" in paragraphs[0]


def test_a_sentence_may_hold_any_sign_but_a_line_end(tmp_path: Path) -> None:
    odd = ["a\u2028b c d e", "f g\x0bh i j"]
    table, _ = notes([finished(tmp_path, "uniform", 0, odd, odd)])
    assert "| uniform | 100.0" in table


@pytest.mark.parametrize("own_test_sets", [False, True])
def test_intervals_are_those_of_the_runs_own_tokenizer(tmp_path: Path, own_test_sets: bool) -> None:
    references = ["我们今天去北京大学学习中文。", "他昨天买了一本很新的书。"]
    hypotheses = ["我们今天去北京的大学学习中文。", "他昨天买了一本新书。"]
    runs = []
    for seed in (0, 1):
        turn = -1 if seed and own_test_sets else 1
        run = finished(tmp_path, "mlp", seed, hypotheses[::turn], references[::turn])
        details = {"scores": {**SIGNATURES, "tokenize": "zh"}}
        runs.append(Finished(msgspec.structs.replace(run.result, details=details), run.folder))
    table = notes(runs)[0]
    score = bleu_statistics(hypotheses, references, tokenize="zh").score()
    assert score > 40
    assert f"| mlp | {score:.1f} [" in table
