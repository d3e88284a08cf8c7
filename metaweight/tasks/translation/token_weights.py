"""Weights of the pieces that a SentencePiece model of the user's own cuts targets into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import fsum
from pathlib import Path

import sentencepiece

from metaweight.data.text.spans import Span, cut, shared
from metaweight.data.text.vocabulary import Vocabulary
from metaweight.tasks.rating import Rated


def load_pieces(path: Path | str) -> sentencepiece.SentencePieceProcessor:
    """A SentencePiece model, as ``spm_train`` and Marian (vocab.spm) leave it.

    Raises FileNotFoundError where there is no file, ValueError for one that is no such model.
    """
    place = Path(path).expanduser()
    if not place.is_file():
        raise FileNotFoundError(f"{path} is not there: name the SentencePiece model of the target side")
    content, processor = place.read_bytes(), sentencepiece.SentencePieceProcessor()
    try:
        processor.load_from_serialized_proto(content)
    except RuntimeError as error:
        raise ValueError(f"{path} is no SentencePiece model (vocab.spm, NAME.model): {error}") from error
    if not content or not processor.get_piece_size():
        raise ValueError(f"{path} is no SentencePiece model (vocab.spm, NAME.model): it has no piece")
    return processor


def token_lines(rated: Rated, pieces: sentencepiece.SentencePieceProcessor) -> Iterator[str]:
    """A line a pair: the weight of each piece of its target, then that of the end of the sentence.

    It is what Marian reads with ``--data-weighting-type word``: numbers with a space between, as many as
    ``pieces`` cuts the target into and one more.  A pair that is not weighed has zeros.  Where the run weighs
    sentences each of their tokens has the sentence's weight; where it weighs tokens see ``onto``.  Raises
    ValueError where ``rated`` are no sentence pairs.
    """
    own = rated.new.vocabulary
    if own is None or rated.units is None:
        raise ValueError("these rows are no sentence pairs: weights of tokens are those of their targets")
    each = dict(zip(rated.new.places.tolist(), rated.units, strict=True))
    targets = rated.new.columns["target"]
    return (_line(target, each.get(row), own, pieces) for row, target in enumerate(targets))


def _line(
    target: str,
    weights: list[float] | None,
    own: Vocabulary,
    pieces: sentencepiece.SentencePieceProcessor,
) -> str:
    new = cut(pieces, target).spans
    if weights is None:
        found = [0.0] * (len(new) + 1)
    elif len(weights) == 1:
        found = weights * (len(new) + 1)
    else:
        spans = own.cut(target).spans
        assert len(spans) == len(weights) - 1
        found = [*onto(spans, weights[:-1], new), weights[-1]]
    return " ".join(f"{weight:.6g}" for weight in found) + "\n"


def onto(own: Sequence[Span], weights: Sequence[float], new: Sequence[Span]) -> list[float]:
    """Weights of pieces ``new`` [m] by those of pieces ``own`` [n] of the same sentence.

    A character has the weight of its own piece, or the mean of those that share it (``shared``); a new piece
    has the mean over the characters that it covers, or those that it shares.  So the sum over characters
    stays what it was where both cover the same.  Characters that no own piece covers do not count; a piece of
    nothing else has the mean of ``weights``.
    """
    by_character: dict[int, float] = {}
    for span, places in shared(own):
        weight = _mean([weights[place] for place in places])
        by_character |= dict.fromkeys(range(*span), weight)
    found = [_mean(weights)] * len(new)
    for span, places in shared(new):
        known = [by_character[place] for place in range(*span) if place in by_character]
        for place in places if known else ():
            found[place] = _mean(known)
    return found


def _mean(values: Sequence[float]) -> float:
    return fsum(values) / len(values)
