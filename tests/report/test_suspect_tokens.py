"""Tokens in order of suspicion, each in its sentence."""

from pathlib import Path

import pytest

from metaweight.core.csv_text import write_csv
from metaweight.report.suspect_tokens import suspect_tokens
from metaweight.tasks.tokens.results import HEADER, TOKENS


def row(index: int, place: int, token: str, suggested: str, share: float, weight: str) -> tuple[object, ...]:
    return "a.bio", 1 + 40 * index, "", index, place, token, "O", suggested, share, weight


def test_what_the_tagger_contradicts_first_and_then_the_lowest_weight(tmp_path: Path) -> None:
    assert suspect_tokens(tmp_path) is None
    rows = [row(0, place, f"w{place}", "O", 0.9, "1.5") for place in range(1, 21)]
    rows += [
        row(1, 1, "sure", "B-X", 0.9, "0.5"),
        row(1, 2, "unsure", "B-X", 0.6, "0.5"),
        row(1, 3, "doubted", "O", 0.4, "0.5"),
        row(1, 4, "unseen", "O", 0.4, ""),
        row(2, 1, "lowest", "O", 0.9, "0.25"),
    ]
    write_csv(tmp_path / TOKENS, HEADER, rows)
    found = suspect_tokens(tmp_path)
    assert found is not None
    assert [one["token"] for one in found[:4]] == ["sure", "unsure", "lowest", "doubted"]
    assert len(found) == 24
    shown = {one["token"]: one["sentence"] for one in found}
    assert shown["lowest"] == ">>lowest<<"
    assert shown["sure"] == ">>sure<< unsure doubted unseen"
    assert shown["w10"] == "... w2 w3 w4 w5 w6 w7 w8 w9 >>w10<< w11 w12 w13 w14 w15 w16 w17 w18 ..."
    assert shown["w9"].startswith("w1 w2 ")
    (tmp_path / TOKENS).write_text("file,row\na,1\n")
    with pytest.raises(ValueError, match=r"tokens\.csv is damaged: it has no column name"):
        suspect_tokens(tmp_path)
