"""Which characters each piece stands for: by hand, and beside SentencePiece's own offsets."""

from __future__ import annotations

import io
import random
from functools import cache
from typing import Any

import pytest
import sentencepiece

from metaweight.data.text.spans import Span, cut, shared
from metaweight.data.text.vocabulary import train_vocabulary

TEXT = (
    "Der Hund läuft schnell über die ½ Straße …",
    "ﬁne ﬁlter Ｆｕｌｌ width doppelt",
    "a b c d e f g h",
)


@cache
def model(**options: Any) -> sentencepiece.SentencePieceProcessor:
    """A model of the user's own; by default it normalises by NFKC."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 20),
        model_writer=written,
        hard_vocab_limit=False,
        minloglevel=2,
        **{"vocab_size": 60, **options},
    )
    return sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())


def said(processor: sentencepiece.SentencePieceProcessor, sentence: str) -> list[tuple[str, str]]:
    """Each piece with the characters that it stands for."""
    found = cut(processor, sentence)
    assert found.ids == processor.encode(sentence)
    return [
        (processor.id_to_piece(number), sentence[begin:end])
        for number, (begin, end) in zip(found.ids, found.spans, strict=True)
    ]


def test_pieces_of_normalised_text_have_the_characters_as_they_were_written() -> None:
    assert said(model(), "½ ﬁne") == [
        *[("▁", ""), ("1", ""), ("⁄", ""), ("2", "½")],
        *[("▁fi", " ﬁ"), ("ne", "ne")],
    ]
    # two spaces become one, those at the ends none, and a no-break space one like any other
    assert said(model(), " a  b\u00a0c ") == [("▁", ""), ("a", "a"), ("▁", "  "), ("b", "b"), *_c()]
    assert cut(model(), " a ").spans == [Span(1, 1), Span(1, 2)]


def _c() -> list[tuple[str, str]]:
    return [("▁", "\u00a0"), ("c", "c")]


def test_an_unseen_character_is_its_bytes_of_which_the_last_covers_it() -> None:
    bytewise = model(byte_fallback=True, vocab_size=330)
    assert said(bytewise, "漢") == [("▁", ""), ("<0xE6>", ""), ("<0xBC>", ""), ("<0xA2>", "漢")]
    assert cut(bytewise, "a漢").spans == [Span(0, 0), Span(0, 1), Span(1, 1), Span(1, 1), Span(1, 2)]


def test_a_sentence_that_shows_nothing_has_no_piece() -> None:
    for sentence in ("", "  "):
        assert cut(model(), sentence) == ([], [])


def test_a_long_sentence_has_offsets_of_more_than_a_byte() -> None:
    sentence = "ab " * 20_000 + "漢"
    found = cut(model(), sentence)
    assert found.spans[-1] == Span(60_000, 60_001)
    assert sum(span.end - span.begin for span in found.spans) == len(sentence)


@pytest.mark.skipif(
    tuple(map(int, sentencepiece.__version__.split(".")[:3])) < (0, 2, 2), reason="has no offset mapping"
)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"normalization_rule_name": "identity"},
        {"treat_whitespace_as_suffix": True},
        {"byte_fallback": True, "vocab_size": 330},
        {"remove_extra_whitespaces": False, "add_dummy_prefix": False},
        {"model_type": "bpe", "vocab_size": 45},
    ],
)
def test_spans_are_sentencepieces_own_offsets(options: dict[str, Any]) -> None:
    draw = random.Random(0)
    letters = "abdeiln  ½ﬁ…Ｆé\u0301\u200b\u00a0漢𝔄🙂▁"
    for _ in range(300):
        sentence = "".join(draw.choices(letters, k=draw.randrange(12)))
        found = model(**options).encode(sentence, return_type="offset_mapping")
        assert cut(model(**options), sentence) == (found["ids"], found["offsets"]), sentence


def test_a_vocabulary_of_ours_covers_a_tidy_sentence_whole() -> None:
    own = train_vocabulary(TEXT, 60, at_most=True)
    for sentence in TEXT:
        found = own.cut(sentence)
        assert found.ids == own.encode([sentence])[0]
        assert "".join(sentence[begin:end] for begin, end in found.spans) == sentence


def test_pieces_without_a_character_go_with_the_next_and_at_the_end_with_the_last() -> None:
    spans = [Span(0, 0), Span(0, 0), Span(0, 2), Span(2, 3), Span(3, 3), Span(3, 5), Span(5, 5)]
    assert shared(spans) == [((0, 2), [0, 1, 2]), ((2, 3), [3]), ((3, 5), [4, 5, 6])]
    assert shared([Span(1, 1), Span(1, 1)]) == [((0, 0), [0, 1])]
    assert shared([]) == []
