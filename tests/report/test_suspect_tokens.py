"""Tokens in order of suspicion, each in its sentence."""

from itertools import groupby
from pathlib import Path
from random import Random

import pytest

from metaweight.core.csv_columns import write_blocks
from metaweight.core.csv_text import read_csv, write_csv
from metaweight.report.suspect_tokens import COLUMNS, NEAR, suspect_tokens
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
    tokens = found.columns()["token"]
    assert tokens[:4] == ["sure", "unsure", "lowest", "doubted"]
    assert len(found) == 24
    shown = dict(zip(tokens, found.columns()["sentence"], strict=True))
    assert shown["lowest"] == ">>lowest<<"
    assert shown["sure"] == ">>sure<< unsure doubted unseen"
    assert shown["w10"] == "... w2 w3 w4 w5 w6 w7 w8 w9 >>w10<< w11 w12 w13 w14 w15 w16 w17 w18 ..."
    assert shown["w9"].startswith("w1 w2 ")
    (tmp_path / TOKENS).write_text(",".join(HEADER) + "\n")
    empty = suspect_tokens(tmp_path)
    assert empty is not None
    assert (len(empty), empty.columns()) == (0, {name: [] for name in COLUMNS})
    write_csv(tmp_path / TOKENS, HEADER, [row(0, 1, "a", "O", 0.9, "much")])
    with pytest.raises(ValueError, match=r"tokens\.csv is damaged: .*much"):
        suspect_tokens(tmp_path)
    (tmp_path / TOKENS).write_text("file,row\na,1\n")
    with pytest.raises(ValueError, match=r"tokens\.csv is damaged: it has no column name"):
        suspect_tokens(tmp_path)


def by_row(path: Path) -> list[dict[str, str]]:
    """The same with a dict for each token."""
    found = []
    for _, own in groupby(read_csv(path), lambda line: line["index"]):
        lines = list(own)
        words = [line["token"] for line in lines]
        for at, line in enumerate(lines):
            shown = [*words[max(at - NEAR, 0) : at], f">>{words[at]}<<", *words[at + 1 : at + 1 + NEAR]]
            gaps = "..." * (at > NEAR), "..." * (at + 1 + NEAR < len(words))
            found.append({**line, "sentence": " ".join(filter(None, (gaps[0], *shown, gaps[1])))})

    def order(line: dict[str, str]) -> tuple[bool, float, float]:
        agrees, share = line["suggested"] == line["label"], float(line["share"])
        return agrees, float(line["weight"]), share if agrees else -share

    return sorted((line for line in found if line["weight"]), key=order)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_a_row_at_a_time_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Equal weights and shares, sentences of 1 to 30 tokens, empty ones and such with quotes, by the byte."""
    monkeypatch.setattr("metaweight.report.suspect_tokens.BLOCK", 7)
    draw = Random(seed)
    words = ["", "a", 'say "no"', "x,y", ">>", "\u00e9", "line\nend", *map(str, range(9))]
    rows = [
        row(index, place, draw.choice(words), draw.choice("OX"), draw.choice([0.25, 0.5, 1e-05]), weight)
        for index in range(30)
        for place in range(1, draw.randint(1, 30) + 1)
        for weight in [draw.choice(["", "0.5", "1.25", "1e-05", "12"])]
    ]
    write_csv(tmp_path / TOKENS, HEADER, rows)
    found = suspect_tokens(tmp_path)
    assert found is not None
    with (tmp_path / "ours.csv").open("wb") as file:
        assert write_blocks(file, COLUMNS, found.blocks()) == len(found)
    wanted = by_row(tmp_path / TOKENS)
    assert len(wanted) > 200
    write_csv(tmp_path / "theirs.csv", COLUMNS, ([line[name] for name in COLUMNS] for line in wanted))
    assert (tmp_path / "ours.csv").read_bytes() == (tmp_path / "theirs.csv").read_bytes()
