"""The tokens of a run's training sentences, the most suspect first, each shown in its sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metaweight.core.csv_columns import BLOCK, read_columns
from metaweight.tasks.tokens.results import HEADER, TOKENS

NEAR = 8
"""Tokens that are shown before and after one."""
COLUMNS = (*HEADER, "sentence")

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class SuspectTokens:
    """The tokens of ``TOKENS`` in another order, as text."""

    table: Mapping[str, Any]
    """``HEADER`` -> pyarrow's array of the cells of all n tokens, as they lie in the file."""
    order: Places
    """[m], those that are listed."""

    def __len__(self) -> int:
        return len(self.order)

    def blocks(self) -> Iterator[dict[str, Any]]:
        """``COLUMNS`` -> pyarrow's array, of some tokens at a time; ``sentence``, in which >>this<< is the
        token, has NEAR tokens about it."""
        if not len(self):
            return
        starts, ends = _bounds(self.table["index"])
        for start in range(0, len(self), BLOCK):
            places = self.order[start : start + BLOCK]
            own = {name: self.table[name].take(places) for name in HEADER}
            yield {**own, "sentence": _shown(self.table["token"], places, starts[places], ends[places])}

    def columns(self) -> dict[str, list[str]]:
        """``COLUMNS`` -> the cells of all."""
        blocks = list(self.blocks())
        return {name: [cell for block in blocks for cell in block[name].to_pylist()] for name in COLUMNS}


def suspect_tokens(folder: Path) -> SuspectTokens | None:
    """The tokens of a run, most suspect first.

    Those come first of which the tagger says another label, the lowest weight first, of equal weights what it
    says most surely; then the others, alike.  Without a weight they are left out.  None where the run has no
    tokens.  Raises ValueError for a damaged file.
    """
    from pyarrow import compute

    path = folder / TOKENS
    if not path.is_file():
        return None
    read = read_columns(path)
    if not read:
        return SuspectTokens({}, np.empty(0, np.int64))
    lacking = [name for name in HEADER if name not in read]
    if lacking:
        raise ValueError(f"{path} is damaged: it has no column {', '.join(lacking)}")
    table = {name: read.pop(name).combine_chunks() for name in HEADER}
    seen = np.flatnonzero(compute.not_equal(table["weight"], "").to_numpy(zero_copy_only=False))
    try:
        weight, share = (table[name].take(seen).cast("float64").to_numpy() for name in ("weight", "share"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    agrees = compute.equal(table["suggested"], table["label"]).to_numpy(zero_copy_only=False)[seen]
    return SuspectTokens(table, seen[np.lexsort((np.where(agrees, share, -share), weight, agrees))])


def _bounds(index: Any) -> tuple[Places, Places]:
    """Where the sentence of each token [n] begins in the file, and where it ends; tokens that follow each
    other with the same ``index`` are of one."""
    from pyarrow import compute

    changes = compute.not_equal(index[1:], index[:-1]).to_numpy(zero_copy_only=False)
    edges = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(index)]])
    lengths = np.diff(edges)
    return np.repeat(edges[:-1], lengths), np.repeat(edges[1:], lengths)


def _shown(tokens: Any, places: Places, starts: Places, ends: Places) -> Any:
    """The sentences of the tokens at ``places`` [m], as far as they are near, between ``starts`` and
    ``ends``."""
    import pyarrow
    from pyarrow import compute

    def text(word: str | None) -> Any:
        return pyarrow.scalar(word, tokens.type)

    def gap(there: Any) -> Any:
        return compute.if_else(pyarrow.array(there), text("..."), text(None))

    def near(step: int) -> Any:
        at = places + step
        words = tokens.take(pyarrow.array(at, mask=(at < starts) | (at >= ends)))
        if step == 0:
            return compute.binary_join_element_wise(text(">>"), words, text("<<"), text(""))
        return compute.if_else(compute.equal(words, ""), text(None), words)

    words = map(near, range(-NEAR, NEAR + 1))
    parts = (gap(places - starts > NEAR), *words, gap(ends - places > NEAR + 1))
    return compute.binary_join_element_wise(*parts, text(" "), null_handling="skip")
