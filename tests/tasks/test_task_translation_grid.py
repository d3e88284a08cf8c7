"""What a grid of translation runs leaves: its table, scored again by sacrebleu, and its pairs' weights."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch
from published import compare
from rich.console import Console
from tiny_translation import changed, lines

from metaweight.cli.translate import load_translator
from metaweight.comparison.grid import Grid
from metaweight.data.text import Vocabularies
from metaweight.tasks import tasks
from metaweight.tasks.config import TranslationConfig
from metaweight.tasks.translation.bleu import bleu_statistics, bootstrap_interval, paired_bootstrap
from metaweight.tasks.translation.data import prepare
from metaweight.tasks.translation.decoding import one_line, translate
from metaweight.training.run_folder import RunFolder

KINDS = ("misaligned", "copied", "truncated")


@pytest.fixture(scope="module")
def grid(base: TranslationConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("grid") / "out"
    arms = Grid(base, ("uniform", "surface"), ("mixed@0.4",), (0, 1))
    results = compare(arms, out, jobs=1, console=Console(quiet=True))
    assert [result.failure for result in results] == [None] * 4
    return out


def cell(grid: Path, teacher: str, seed: int) -> tuple[dict[str, Any], list[str], list[str]]:
    """Its result, hypotheses and references."""
    folder = grid / "cells" / f"mixed-0.4.{teacher}.{seed}"
    result = json.loads((folder / "result.json").read_text())
    return result, lines(folder / "hypothesis.txt"), lines(folder / "reference.txt")


def test_sacrebleu_on_the_files_gives_the_table(grid: Path) -> None:
    table = (grid / "table.md").read_text()
    for teacher in ("uniform", "surface"):
        scores = []
        for seed in (0, 1):
            result, hypotheses, references = cell(grid, teacher, seed)
            assert len(hypotheses) == len(references) == 30
            bleu, chrf = (
                sacrebleu.corpus_bleu(hypotheses, [references]),
                sacrebleu.corpus_chrf(hypotheses, [references]),
            )
            assert (result["figures"]["bleu"], result["figures"]["chrf"]) == (bleu.score, chrf.score)
            assert result["details"]["scores"]["hypothesis_length"] == bleu.sys_len
            assert result["details"]["scores"]["reference_length"] == bleu.ref_len
            # what ``metaweight translate --beam 1`` makes of the cell's student
            config, module, vocabularies = load_translator(
                str(grid / "cells" / f"mixed-0.4.{teacher}.{seed}")
            )
            source = tasks["translation"].prepare(config).text.test.source
            greedy = [one_line(best[0][0]) for best in translate(module, vocabularies, source, beam=1)]
            assert result["figures"]["bleu_greedy"] == sacrebleu.corpus_bleu(greedy, [references]).score
            assert bleu.score > 0  # else every translation would score alike
            scores.append(bleu.score)
        mean, spread = sum(scores) / 2, abs(scores[0] - scores[1]) / math.sqrt(2)
        (row,) = re.findall(rf"^\| {teacher} \| \**([\d.]+) ± ([\d.]+)", table, re.MULTILINE)
        assert row == (f"{mean:.1f}", f"{spread:.1f}")


def test_interval_p_and_signatures_stand_under_the_table(grid: Path) -> None:
    table = (grid / "table.md").read_text()
    counts = {}
    for teacher in ("uniform", "surface"):
        texts = [cell(grid, teacher, seed)[1:] for seed in (0, 1)]
        assert texts[0][1] != texts[1][1]  # each seed draws its own test set
        counts[teacher] = bleu_statistics(*([*texts[0][side], *texts[1][side]] for side in (0, 1)))
        low, high = bootstrap_interval(counts[teacher])
        assert f"| {teacher} | {counts[teacher].score():.1f} [{low:.1f}, {high:.1f}] |" in table
    paired = paired_bootstrap(counts["uniform"], counts["surface"])
    interval = f"{paired.difference:+.1f} [{paired.low:+.1f}, {paired.high:+.1f}]"
    assert f"| {interval} | {paired.p_value:.3f} |" in table
    version = sacrebleu.__version__
    assert f"BLEU|nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{version}" in table
    assert f"chrF2|nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:{version}" in table


def test_auroc_is_given_by_kind(grid: Path) -> None:
    folder = grid / "cells" / "mixed-0.4.surface.1"
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    result = cell(grid, "surface", 1)[0]
    good = [float(row["mean_weight"]) for row in rows if not row["kind"]]
    assert len(rows) - len(good) == 40
    for kind, share in zip(KINDS, (20, 10, 10), strict=True):
        bad = [float(row["mean_weight"]) for row in rows if row["kind"] == kind]
        assert len(bad) == share
        above = sum((g > b) + (g == b) / 2 for g in good for b in bad) / (len(good) * len(bad))
        # weights are written with six digits, which makes some of them equal
        assert result["figures"][f"auroc_{kind}"] == pytest.approx(above, abs=2e-3)
    both = [cell(grid, "surface", seed)[0]["figures"] for seed in (0, 1)]
    means = [sum(one[f"auroc_{kind}"] for one in both) / 2 for kind in KINDS]
    table = (grid / "table.md").read_text()
    assert f"| arm | {' | '.join(KINDS)} |" in table
    assert f"| surface | {' | '.join(f'{mean:.2f}' for mean in means)} |" in table
    assert "| uniform | 0.50 | 0.50 | 0.50 |" in table


def test_a_cell_keeps_its_pairs_weights_vocabulary_and_pictures(grid: Path, base: TranslationConfig) -> None:
    folder = grid / "cells" / "mixed-0.4.surface.1"
    prepared = prepare(changed(base, seed=1))
    with (folder / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    given = prepared.noisy.bitext
    assert [(row["source"], row["target"]) for row in rows] == list(
        zip(given.source, given.target, strict=True)
    )
    weights = RunFolder.open(folder).read_weights()
    assert weights.flipped is not None
    assert torch.equal(weights.flipped, prepared.noisy.flipped)
    means = [float(row["mean_weight"]) for row in rows]
    assert means == pytest.approx(weights.mean_weight().tolist(), rel=1e-5)
    assert lines(folder / "reference.txt") == list(prepared.text.test.target)
    assert Vocabularies.load(folder) == prepared.vocabularies
    manifest = RunFolder.open(folder).manifest()
    assert manifest["task"] == "translation"
    assert {"sacrebleu", "sentencepiece", "Babel"} <= set(manifest["versions"])
    assert cell(grid, "surface", 0)[0]["figures"]["cost"] > 1
    for picture in ("valid_loss", "weights", "weight_against_loss.surface"):
        assert (grid / "plots" / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
