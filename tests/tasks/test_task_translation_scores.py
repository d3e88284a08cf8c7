from __future__ import annotations

import math
import random

import numpy as np
import pytest
import sacrebleu
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.significance import PairedTest

from metaweight.tasks.translation.bleu import (
    bleu_statistics,
    bootstrap_interval,
    chrf_statistics,
    paired_bootstrap,
    pool_runs,
    score,
)

WORDS = ["the", "cat", "sat", "on", "a", "mat", ",", "with", "two", "dogs", "and", "one", "old", "man", "."]
DRAW = random.Random(0)
REFERENCES = [" ".join(DRAW.choices(WORDS, k=DRAW.randrange(4, 12))) for _ in range(80)]


def spoilt(share: float, seed: int) -> list[str]:
    """The references with a share of their words replaced, and some lost."""
    draw = random.Random(seed)
    return [
        " ".join(
            word if draw.random() > share else draw.choice(WORDS)
            for word in line.split()
            if draw.random() > 0.05
        )
        for line in REFERENCES
    ]


WORSE, BETTER = spoilt(0.3, 1), spoilt(0.22, 2)
BOTH = [bleu_statistics, chrf_statistics]


def test_bleu_by_hand():
    # matches 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 fours; as long as the reference
    found = score(["the cat sat on the mat"], ["the cat sat on a mat"])
    assert found.bleu == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25, rel=1e-12)
    assert (found.hypothesis_length, found.reference_length, found.sentences) == (6, 6, 1)
    # all precisions are 1, five words for seven
    found = score(["the cat sat on a"], ["the cat sat on a big mat"])
    assert found.bleu == pytest.approx(100 * math.exp(1 - 7 / 5), rel=1e-12)
    counts = bleu_statistics(["the cat sat on the mat"], ["the cat sat on a mat"]).counts
    assert counts.tolist() == [[6, 6, 5, 3, 2, 1, 6, 5, 4, 3]]


@pytest.mark.parametrize("tokenize", ["13a", "char"])
def test_scores_and_signatures_are_those_of_sacrebleu(tokenize):
    found = score(BETTER, REFERENCES, tokenize=tokenize)
    bleu = sacrebleu.corpus_bleu(BETTER, [REFERENCES], tokenize=tokenize)
    assert found.bleu == bleu.score
    assert found.chrf == sacrebleu.corpus_chrf(BETTER, [REFERENCES]).score
    assert (found.hypothesis_length, found.reference_length) == (bleu.sys_len, bleu.ref_len)
    assert found.bleu_signature.startswith("BLEU|nrefs:1|case:mixed|eff:no|")
    assert f"|tok:{tokenize}|smooth:exp|version:{sacrebleu.__version__}" in found.bleu_signature
    assert found.chrf_signature.startswith("chrF2|nrefs:1|case:mixed|")


def test_case_and_punctuation_count():
    assert score(["The cat sat on a mat."], ["the cat sat on a mat ."]).bleu < 100
    assert score(["A cat sat, here."], ["A cat sat , here ."]).bleu == pytest.approx(100)


@pytest.mark.parametrize(("extract", "metric"), [(bleu_statistics, BLEU()), (chrf_statistics, CHRF())])
def test_the_sums_over_any_subset_give_its_corpus_score(extract, metric):
    statistics = extract(BETTER, REFERENCES)
    assert statistics.score() == metric.corpus_score(BETTER, [REFERENCES]).score
    for rows in ([3], [5, 2, 2, 40], list(range(0, 80, 3))):
        part = metric.corpus_score([BETTER[i] for i in rows], [[REFERENCES[i] for i in rows]])
        assert statistics.score(np.array(rows)) == part.score


@pytest.mark.parametrize("seed", [12345, 7])
def test_the_paired_bootstrap_is_sacrebleus(seed, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", str(seed))
    systems, metrics = [("b", WORSE), ("s", BETTER)], {"BLEU": BLEU(), "chrF2": CHRF()}
    _, table = PairedTest(systems, metrics, [REFERENCES], test_type="bs", n_samples=200)()
    for name, extract in zip(["BLEU", "chrF2"], BOTH, strict=True):
        theirs = table[name][1]
        base, system = extract(WORSE, REFERENCES), extract(BETTER, REFERENCES)
        ours = paired_bootstrap(base, system, samples=200, seed=seed)
        assert 1 / 201 < ours.p_value == theirs.p_value
        assert ours.difference == pytest.approx(theirs.score - table[name][0].score, abs=1e-9)
        assert ours.low < ours.difference < ours.high
        # theirs is half the interval's width, in float32
        low, high = bootstrap_interval(system, samples=200, seed=seed)
        assert (high - low) / 2 == pytest.approx(theirs.ci, abs=1e-4)


def test_the_interval_of_the_difference_is_that_of_paired_resamples():
    base, system = bleu_statistics(WORSE, REFERENCES), bleu_statistics(BETTER, REFERENCES)
    rows = np.random.default_rng(3).choice(80, size=(40, 80))
    drawn = sorted(system.score(r) - base.score(r) for r in rows)
    found = paired_bootstrap(base, system, samples=40, level=0.8, seed=3)
    assert (found.low, found.high) == (drawn[4], drawn[-5])
    swapped = paired_bootstrap(system, base, samples=40, level=0.8, seed=3)
    assert (swapped.difference, swapped.p_value) == (-found.difference, found.p_value)
    assert (swapped.low, swapped.high) == (-found.high, -found.low)


def test_a_wider_level_is_a_wider_interval_and_one_sentence_has_none():
    statistics = bleu_statistics(BETTER, REFERENCES)
    narrow, wide = (bootstrap_interval(statistics, samples=200, level=level) for level in (0.5, 0.99))
    assert wide[0] < narrow[0] < statistics.score() < narrow[1] < wide[1]
    alone = bleu_statistics(BETTER[:1], REFERENCES[:1])
    assert bootstrap_interval(alone, samples=10) == (alone.score(), alone.score())


def test_a_system_against_itself_has_p_1_and_a_clear_gain_the_least_p():
    base = bleu_statistics(WORSE, REFERENCES)
    same = paired_bootstrap(base, bleu_statistics(WORSE, REFERENCES), samples=50)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    assert paired_bootstrap(base, bleu_statistics(REFERENCES, REFERENCES), samples=50).p_value == 1 / 51


def test_other_counts_without_any_difference_have_p_1():
    # no word is right: 0 in every resample, though the totals are not the same
    one, other = (bleu_statistics([line] * 3, ["a b c d e"] * 3) for line in ("x x x x", "x x x x x"))
    assert not np.array_equal(one.counts, other.counts)
    pair = paired_bootstrap(one, other, samples=20)
    assert (pair.difference, pair.low, pair.high, pair.p_value) == (0, 0, 0, 1)


@pytest.mark.parametrize("extract", BOTH)
def test_pooled_runs_score_as_all_their_lines_together(extract):
    runs = [extract(WORSE, REFERENCES), extract(BETTER, REFERENCES)]
    pooled = pool_runs(runs)
    assert len(pooled) == len(REFERENCES)
    assert pooled.score() == extract(WORSE + BETTER, REFERENCES * 2).score()
    # the same run twice says no more about other sentences than once
    twice = pool_runs([runs[0], runs[0]])
    assert bootstrap_interval(twice, samples=50) == pytest.approx(bootstrap_interval(runs[0], samples=50))


def test_lines_that_do_not_fit_are_refused():
    for function in (score, *BOTH):
        with pytest.raises(ValueError, match="2 hypotheses and 1 references"):
            function(["a", "b"], ["a"])
        with pytest.raises(ValueError, match="at least one sentence"):
            function([], [])
        with pytest.raises(TypeError, match="one string"):
            function("a", "a")


def test_bad_options_and_statistics_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"unknown BLEU tokenizer '13b'\. Did you mean '13a'"):
        score(["a"], ["a"], tokenize="13b")
    bleu = bleu_statistics(BETTER, REFERENCES)
    for other, complaint in (
        (bleu_statistics(BETTER[:9], REFERENCES[:9]), "of 80 and of 9 sentences"),
        (chrf_statistics(BETTER, REFERENCES), r"two kinds .*BLEU\|.*chrF2\|"),
        (bleu_statistics(BETTER, REFERENCES, tokenize="char"), "tok:13a.*tok:char"),
    ):
        with pytest.raises(ValueError, match=complaint):
            paired_bootstrap(bleu, other, samples=5)
        with pytest.raises(ValueError, match=complaint):
            pool_runs([bleu, other])
    with pytest.raises(ValueError, match="at least one run"):
        pool_runs([])
    with pytest.raises(ValueError, match="samples is a positive number"):
        bootstrap_interval(bleu, samples=0)
    with pytest.raises(ValueError, match=r"level is a share in \(0, 1\), got 95"):
        bootstrap_interval(bleu, samples=5, level=95)
