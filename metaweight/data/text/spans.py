"""Which characters of a sentence each of its SentencePiece pieces stands for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import sentencepiece

_PIECES, _ID, _BEGIN, _END = 2, 2, 4, 5
"""Numbers of fields in SentencePiece's own format (SentencePieceText of sentencepiece.proto)."""
_VARINT, _BYTES = 0, 2


class Span(NamedTuple):
    """The characters ``begin`` to ``end - 1`` of a sentence; none where both are the same."""

    begin: int
    end: int


class Cut(NamedTuple):
    """A sentence in pieces."""

    ids: list[int]
    spans: list[Span]
    """Those of the pieces: they rise and none overlaps another."""


def cut(processor: sentencepiece.SentencePieceProcessor, sentence: str) -> Cut:
    """The pieces of ``sentence``, with its own characters, as it was before the model normalised it.

    Where one character becomes several pieces (½ is 1⁄2 by NFKC, an unseen one is its bytes) the last covers
    it and those before it cover none; nor does the sign of a space that the text does not have.  Characters
    that the model takes out, as spaces at the ends, are covered by none.
    """
    encoded = sentence.encode()
    # how many characters begin before each byte
    begun = [0]
    for byte in encoded:
        begun.append(begun[-1] + (byte & 0xC0 != 0x80))
    ids, spans = [], []
    # SentencePiece has changed how Python sees its pieces, and never this format
    for number, piece in _fields(processor.encode(sentence, out_type="serialized_proto")):
        if number == _PIECES:
            assert isinstance(piece, bytes)
            own = dict(_fields(piece))
            begin, end, name = (own.get(field, 0) for field in (_BEGIN, _END, _ID))
            assert isinstance(begin, int)
            assert isinstance(end, int)
            assert isinstance(name, int)
            ids.append(name)
            spans.append(Span(begun[begin], begun[end]))
    return Cut(ids, spans)


def shared(spans: Sequence[Span]) -> list[tuple[Span, list[int]]]:
    """Which pieces share which characters: spans that are not empty, with the positions of their pieces.

    A piece without a character goes with the next that has one, at the end with the last; where no piece has
    one there is one empty span of all.
    """
    groups: list[tuple[Span, list[int]]] = []
    waiting: list[int] = []
    for place, span in enumerate(spans):
        waiting.append(place)
        if span.begin < span.end:
            groups.append((span, waiting))
            waiting = []
    if waiting and groups:
        groups[-1][1].extend(waiting)
    elif waiting:
        groups.append((Span(0, 0), waiting))
    return groups


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protobuf message of whole numbers and bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        value, place = _varint(message, place)
        if key & 7 == _BYTES:
            yield key >> 3, message[place : place + value]
            place += value
        else:
            assert key & 7 == _VARINT
            yield key >> 3, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """A whole number, 7 bits a byte, the lowest first, and where the next thing begins."""
    value = shift = 0
    while True:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            return value, place
