"""A comparison on own pairs, of which nobody knows which are bad: it ends in a table and a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from slowly import slowly
from tiny_translation import flags, own, own_files, words

from metaweight.cli.main import main
from metaweight.core.csv_text import read_csv
from metaweight.report.page import read_study
from metaweight.training.run_folder import RunFolder


@pytest.mark.parametrize("tokenize", ["char", *slowly(None)])
def test_a_comparison_without_noise_ends_in_a_table_and_a_page(
    tokenize: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, out = own_files(tmp_path), tmp_path / "grid"
    more = ["--arms", "uniform", "mlp", "--noises", "none", "--seeds", "0", "--jobs", "1", "--out", str(out)]
    chosen = [] if tokenize is None else ["--tokenize", tokenize]
    assert main(["compare", "--task", "translation", *own(files), *flags(epochs=3), *chosen, *more]) == 0
    said = words(capsys)
    tok = f"tok:{tokenize or '13a'}"
    assert tok in said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert f"BLEU and BLEU, greedy: BLEU|nrefs:1|case:mixed|eff:no|{tok}|" in page
    assert {path.name for path in (out / "plots").iterdir()} == {
        *("valid_loss.png", "cost.png", "weights.png", "weights_over_time.png", "weight_against_loss.mlp.png")
    }
    (plain, learned) = read_csv(out / "runs.csv")
    assert (plain["arm"], learned["arm"]) == ("uniform", "mlp")
    assert learned["auroc"] == ""
    for run in read_study(out).runs:
        assert RunFolder(run.folder).read_weights().flipped is None


def test_one_run_says_how_bleu_was_got(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, out = own_files(tmp_path), tmp_path / "run"
    assert main(["train", "--task", "translation", *own(files), *flags(epochs=1), "--out", str(out)]) == 0
    said = words(capsys)
    assert "13a (by the script of the references)" in said
    assert said.count("tok:13a") == 2  # with the beam, and greedy
    assert main(["report", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('class="signature">BLEU|nrefs:1') == 2
    assert page.count('class="signature">chrF2|nrefs:1') == 1
    assert "was not tested: metaweight train --probes" in page or "same weight" in page
