"""Weights of the tokens of a SentencePiece model of one's own: by hand, and what cannot change on the way."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
import sentencepiece
import torch

from metaweight.core.contracts import Batch
from metaweight.data.origins import LeftOut, Origins
from metaweight.data.text.spans import Span
from metaweight.data.text.vocabulary import Vocabulary, train_vocabulary
from metaweight.tasks.rating import New, Rated
from metaweight.tasks.translation.token_weights import load_pieces, onto, token_lines

TEXT = ("das rote Haus", "ein ½ Liter", "das Haus ist rot … und rot")


def spans(*ends: int) -> list[Span]:
    """Pieces that follow each other from 0 on."""
    return [Span(*pair) for pair in zip((0, *ends), ends, strict=False)]


def user_model(**options: object) -> bytes:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 10),
        model_writer=written,
        vocab_size=40,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    return written.getvalue()


def rated(targets: list[str], units: list[list[float]], places: list[int], own: Vocabulary | None) -> Rated:
    """Pairs of which those at ``places`` are weighed."""

    def batches(size: int | None) -> list[Batch]:
        raise AssertionError("nothing is read again")

    new = New(
        Origins.of("new.tsv", range(1, len(targets) + 1), unit="line"),
        {"source": ["x"] * len(targets), "target": targets},
        torch.tensor(places),
        LeftOut.none(),
        batches,
        vocabulary=own,
    )
    return Rated(new, torch.zeros(len(targets), dtype=torch.float64), units)


def test_a_piece_has_the_mean_of_its_characters() -> None:
    # abc|de onto ab|cd|e: c has 1, d has 4
    assert onto(spans(3, 5), [1.0, 4.0], spans(2, 4, 5)) == [1.0, 2.5, 4.0]
    # the same pieces: the same weights, to the bit
    own = [0.1, 1 / 3, 2.7]
    assert onto(spans(1, 4, 9), own, spans(1, 4, 9)) == own
    # one piece of all: the mean over characters, not over pieces
    assert onto(spans(3, 4), [1.0, 5.0], spans(4)) == [2.0]


def test_pieces_that_share_a_character_share_its_weight() -> None:
    # the run's: a character of three bytes of 1, 2 and 6, and one of 5
    own = [Span(0, 0), Span(0, 0), Span(0, 1), Span(1, 2)]
    assert onto(own, [1.0, 2.0, 6.0, 5.0], spans(1, 2)) == [3.0, 5.0]
    # the user's: the sign of a space before a word, and one behind the last
    new = [Span(0, 0), Span(0, 1), Span(1, 2), Span(2, 2)]
    assert onto(spans(1, 2), [3.0, 5.0], new) == [3.0, 3.0, 5.0, 5.0]


def test_characters_that_the_run_does_not_cover_do_not_count() -> None:
    own = [Span(1, 2), Span(2, 3)]  # the spaces at 0 and 3 are no part of its pieces
    assert onto(own, [1.0, 4.0], [Span(0, 1), Span(1, 3), Span(3, 4)]) == [2.5, 2.5, 2.5]
    assert onto(own, [1.0, 4.0], [Span(0, 2), Span(2, 4)]) == [1.0, 4.0]


def test_the_sum_over_characters_is_kept() -> None:
    draw = random.Random(1)
    for _ in range(200):
        length = draw.randrange(1, 30)
        own, new = (
            spans(*sorted(draw.sample(range(1, length), draw.randrange(length))), length) for _ in range(2)
        )
        weights = [draw.randrange(64) / 4 for _ in own]
        found = onto(own, weights, new)
        totals = [
            sum(weight * (span.end - span.begin) for weight, span in zip(each, pieces, strict=True))
            for each, pieces in ((weights, own), (found, new))
        ]
        assert totals[0] == pytest.approx(totals[1], rel=1e-14)
        assert min(weights) <= min(found)
        assert max(found) <= max(weights)
        same = draw.randrange(2**24) / 2**20  # a float32: its mean is it
        assert set(onto(own, [same] * len(own), new)) == {same}


def test_lines_have_a_weight_a_piece_and_one_for_the_end() -> None:
    own = train_vocabulary(TEXT, 24, model="bpe", at_most=True)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=user_model())
    targets = ["das rote Haus", "", "ein ½ Liter", "das  Haus", " "]
    # the run's pieces: ▁ d as ▁rot e ▁ Ha u s, and the end
    first = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 0.25]
    # ▁ d as ▁ Ha u s, and the end; the two spaces are one ▁
    second = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 0.125]
    lines = list(token_lines(rated(targets, [first, [0.75], second], [0, 2, 3], own), pieces))
    assert lines == [
        # the user's: ▁ d a s ▁rot e ▁Haus, the last (6 + 7 + 7 + 8 + 9) / 5
        "1.5 1.5 3 3 4 5 7.4 0.25\n",
        "0\n",  # no pair, and a target without a token: its end alone
        " ".join(["0.75"] * 14) + "\n",  # a sentence's weight: ▁ e i n ▁ 1 ⁄ 2 ▁ L i te r and the end
        # ▁ d a s ▁Haus, the last (4 + 4 + 5 + 5 + 6 + 7) / 6
        "1.5 1.5 3 3 5.16667 0.125\n",
        "0\n",
    ]
    for line, target in zip(lines, targets, strict=True):
        assert line.count(" ") == len(pieces.encode(target))


def test_a_character_that_becomes_several_tokens_has_one_weight() -> None:
    own = train_vocabulary(TEXT, 24, model="bpe", at_most=True)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=user_model())
    # ▁ e i n ▁ ½ ▁ L i t e r and the end; the user's: ▁ e i n ▁ 1 ⁄ 2 ▁ L i te r
    weights = [2.0, 4.0, *(float(place) for place in range(2, 13))]
    (line,) = token_lines(rated(["ein ½ Liter"], [weights], [0], own), pieces)
    assert line == "3 3 2 3 4 5 5 5 6 7 8 9.5 11 12\n"


def test_other_rows_and_other_files_are_refused(tmp_path: Path) -> None:
    pieces = sentencepiece.SentencePieceProcessor(model_proto=user_model())
    with pytest.raises(ValueError, match="no sentence pairs"):
        token_lines(rated(["a"], [[1.0]], [0], None), pieces)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.spm is not there"):
        load_pieces(tmp_path / "nowhere.spm")
    for content in (b"", b"no model", user_model()[:-700]):
        place = tmp_path / "broken.spm"
        place.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken\.spm is no SentencePiece model"):
            load_pieces(place)
    place.write_bytes(user_model())
    assert load_pieces(place).get_piece_size() == pieces.get_piece_size()


def test_a_model_of_a_run_is_one_too(tmp_path: Path) -> None:
    own = train_vocabulary(TEXT, 24, model="bpe", at_most=True)
    own.save(tmp_path / "joint.model")
    assert load_pieces(tmp_path / "joint.model").encode(TEXT[0]) == own.encode([TEXT[0]])[0]
