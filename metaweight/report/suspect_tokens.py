"""The tokens of a run's training sentences, the most suspect first, each shown in its sentence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from metaweight.core.csv_text import read_csv
from metaweight.tasks.tokens.results import HEADER, TOKENS

NEAR = 8
"""Tokens that are shown before and after one."""
COLUMNS = (*HEADER, "sentence")


def suspect_tokens(folder: Path) -> list[dict[str, str]] | None:
    """The rows of ``TOKENS`` in order, and ``sentence``, in which >>this<< is the token.

    Those come first of which the tagger says another label, the lowest weight first, of equal weights what it
    says most surely; then the others, alike.  Without a weight they are left out.  None where the run has no
    tokens.  Raises ValueError for a damaged file.
    """
    if not (folder / TOKENS).is_file():
        return None
    seen = [row for row in _in_their_sentences(folder / TOKENS) if row["weight"]]
    return sorted(seen, key=_order)


def _order(row: dict[str, str]) -> tuple[bool, float, float]:
    agrees, share = row["suggested"] == row["label"], float(row["share"])
    return agrees, float(row["weight"]), share if agrees else -share


def _in_their_sentences(path: Path) -> Iterator[dict[str, str]]:
    for _, own in groupby(read_csv(path, columns=HEADER), lambda row: row["index"]):
        rows = list(own)
        words = [row["token"] for row in rows]
        for place, row in enumerate(rows):
            before, after = words[max(place - NEAR, 0) : place], words[place + 1 : place + 1 + NEAR]
            shown = [*before, f">>{row['token']}<<", *after]
            gaps = "..." if place > NEAR else "", "..." if place + 1 + NEAR < len(words) else ""
            yield {**row, "sentence": " ".join(filter(None, (gaps[0], *shown, gaps[1])))}
