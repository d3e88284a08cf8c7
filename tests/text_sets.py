"""Made-up sentence pairs as files hold them, and what holds of every text set."""

from __future__ import annotations

from itertools import combinations

from metaweight.data.text import TextSet

PARTS = ("train", "meta", "valid", "test")


def sizes(made: TextSet) -> list[int]:
    return [len(getattr(made, part)) for part in PARTS]


def assert_apart(made: TextSet, *, but: tuple[str, str] | None = None) -> None:
    """No two parts share a sentence, by sets and by hand."""
    for one, other in combinations(PARTS, 2):
        if (one, other) != but:
            for side in ("source", "target"):
                first, second = (set(getattr(getattr(made, part), side)) for part in (one, other))
                assert not first & second


def lines(first: int, last: int, *, split: str = "", swap: bool = False) -> str:
    """Pairs "d3 d" and "e3 e" as TSV; German first unless swapped."""
    rows = []
    for number in range(first, last):
        pair = [f"d{number} d", f"e{number} e"]
        rows.append("\t".join(([split] if split else []) + (pair[::-1] if swap else pair)))
    return "".join(row + "\n" for row in rows)
